use super::*;

#[test]
fn a_path_is_text_if_it_is_utf8() {
    assert_eq!(CgroupPath::new("/a/é".as_bytes()).as_str(), Some("/a/é"));
    assert_eq!(CgroupPath::new(b"/a/\xff").as_str(), None);
}

/// No character is so long that its end is to be looked for any farther: as much is kept as of other
/// paths.
#[test]
fn a_long_path_of_no_characters_is_cut_anywhere() {
    let kept = CgroupPath::FULL / 2 - "…".len();
    let name = [b'n'; 1_000];
    let path = [b"/", &name[..], &[0x80; 5_000], &name].concat();
    let expected = [&path[..kept], "…".as_bytes(), &path[path.len() - kept..]].concat();
    assert_eq!(CgroupPath::new(&path).shortened(), expected);
}

fn counted(key: &str, amount: u64) -> Values<u64> {
    Values(vec![(key.into(), amount)])
}

#[test]
fn nothing_is_unseen_only_where_nothing_can_be() {
    let known: Unseen = Unseen::default();
    let counted = vec![("memory.events".into(), Some(counted("high", 1)))];
    assert!(known.is_nothing());
    assert!(!Unseen { unseen_in: Some(1), ..known.clone() }.is_nothing());
    assert!(!Unseen { files: counted.clone(), ..known.clone() }.is_nothing());
    assert!(!Unseen { files: counted, unseen_in: Some(1), ..known }.is_nothing());
}

#[test]
fn many_who_share_are_counted_but_few_are_named() {
    let mut unseen = Unseen::default();
    for n in (0..70).chain(0..3) {
        unseen.share_with(n);
    }
    assert_eq!(unseen.shared_with, (0..64).collect::<Vec<_>>());
    // Those that are not named cannot be known again.
    assert_eq!(unseen.shared_count, 70);
}

#[test]
fn what_was_recovered_at_two_times_is_told_in_sum() {
    let file: FileName = "memory.events".into();
    let files = |amount| vec![(file.clone(), Some(counted("high", amount)))];
    let mut unseen = Unseen {
        files: files(2),
        confidence: Some(Confidence::Bounded),
        shared_with: vec![1, 2],
        shared_count: 2,
        unseen_in: None,
        host_oom_kill_at_most: Some(4),
    };
    unseen.fold(Unseen {
        files: files(3),
        confidence: Some(Confidence::Bounded),
        shared_with: vec![2, 3],
        shared_count: 7,
        unseen_in: Some(9),
        host_oom_kill_at_most: Some(5),
    });
    let expected = Unseen {
        files: files(5),
        confidence: Some(Confidence::Shared),
        shared_with: vec![1, 2, 3],
        // Three by name, and five that the other did not name.
        shared_count: 8,
        unseen_in: Some(9),
        host_oom_kill_at_most: Some(5),
    };
    assert_eq!(unseen, expected);
}

/// Also where nobody is named with whom.
#[test]
fn what_was_shared_once_is_shared() {
    let with = |confidence| Unseen { confidence, ..Unseen::default() };
    let (bounded, shared) = (Some(Confidence::Bounded), Some(Confidence::Shared));
    let cases = [
        (None, None, None),
        (bounded, None, bounded),
        (None, bounded, bounded),
        (bounded, shared, shared),
        (shared, bounded, shared),
        (None, shared, shared),
    ];
    for (first, second, expected) in cases {
        let mut unseen = with(first);
        unseen.fold(with(second));
        assert_eq!(unseen, with(expected));
    }
}
