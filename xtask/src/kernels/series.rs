//! Kernel series, and where Debian has them.

use std::fmt;
use std::str::FromStr;

/// What `kernels` runs when it is not told otherwise: the oldest that is still served, the two
/// long-lived ones, and both sides of 7.1, where removals began to be announced.
pub(crate) const DEFAULT: [&str; 5] = ["6.1", "6.12", "7.0", "7.1", "7.3"];

/// The suites that hold kernels, each with the label of the archive it belongs to.
pub(crate) const SUITES: [(&str, &str); 6] = [
    ("bookworm", "Debian"),
    ("bookworm-security", "Debian-Security"),
    ("bookworm-backports", "Debian"),
    ("trixie", "Debian"),
    ("trixie-security", "Debian-Security"),
    ("trixie-backports", "Debian"),
];

/// A kernel series, as `7.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    major: u32,
    minor: u32,
}

impl Series {
    /// True from 7.1 on, where a removed file may send `IN_DELETE_SELF`.
    pub(crate) fn announces_removal(self) -> bool {
        self >= Self { major: 7, minor: 1 }
    }

    /// The newest of these packages that is a cloud kernel of this series.
    ///
    /// The image is in `linux-image-…` up to 6.18 and in `linux-binary-…` after that, where
    /// `linux-image-…` is but a frame around it; so the second is preferred.
    pub(crate) fn newest<'a>(self, packages: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let frames = ["linux-binary", "linux-image"].map(|frame| format!("{frame}-{self}."));
        packages
            .filter(|package| package.ends_with("-cloud-amd64"))
            .filter_map(|package| {
                let rank = frames.iter().position(|frame| package.starts_with(frame))?;
                Some((std::cmp::Reverse(rank), numbers(package), package))
            })
            .max()
            .map(|(_, _, package)| package)
    }
}

/// The numbers in a package's name, in order: they compare as versions do.
fn numbers(package: &str) -> Vec<u64> {
    package.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Series {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('.').and_then(|(major, minor)| {
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        });
        parsed.ok_or_else(|| format!("`{text}` is no kernel series: write it as `7.1`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGES: [&str; 9] = [
        "linux-image-6.1.0-9-cloud-amd64",
        "linux-image-6.1.0-56-cloud-amd64",
        "linux-image-6.12-cloud-amd64",
        "linux-image-6.12.90+deb13-cloud-amd64",
        "linux-image-6.12.117+deb12-cloud-amd64",
        "linux-image-6.12.117+deb13-amd64",
        "linux-binary-7.0.9+deb13-cloud-amd64",
        "linux-binary-unsigned-7.0.13+deb13-cloud-amd64",
        "linux-image-7.0.13+deb13-cloud-amd64",
    ];

    fn newest(series: &str) -> Option<&'static str> {
        series.parse::<Series>().unwrap().newest(PACKAGES.into_iter())
    }

    #[test]
    fn numbers_decide_not_letters() {
        assert_eq!(newest("6.1"), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest("6.12"), Some("linux-image-6.12.117+deb12-cloud-amd64"));
    }

    #[test]
    fn the_image_is_preferred_to_its_frame() {
        assert_eq!(newest("7.0"), Some("linux-binary-7.0.9+deb13-cloud-amd64"));
    }

    #[test]
    fn a_series_that_is_not_there_has_no_newest() {
        assert_eq!(newest("7.1"), None);
        assert_eq!(newest("6.11"), None);
    }

    #[test]
    fn removal_is_announced_from_7_1_on() {
        let announces = |text: &str| text.parse::<Series>().unwrap().announces_removal();
        assert!(!announces("6.12") && !announces("7.0"));
        assert!(announces("7.1") && announces("7.10") && announces("8.0"));
    }
}
