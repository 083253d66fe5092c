//! What a slow reader is not told one by one: births withheld together with their deaths, in sum.

use std::sync::Arc;

use super::{
    books::Node,
    schema::{FileId, SchemaId, Schemas},
    untold::{Told, ToldFile},
};
use crate::{Files, Unseen, Values};

/// Births withheld together with their deaths.
#[derive(Debug, Default)]
pub(crate) struct Cancelled {
    pub(crate) pairs: u64,
    pub(crate) sums: Files<u64>,
}

impl Cancelled {
    /// A newborn that nobody was told of, with what it counted at itself: since a file was there, if
    /// that came later.
    pub(crate) fn add_node(&mut self, node: &Node, told: Option<&Told>, schemas: &Schemas) {
        self.pairs += 1;
        let known = told.map_or(&[][..], |told| &told.files);
        for file in node.files.iter().filter(|file| file.present) {
            let own = file.kin.as_ref().map_or(&file.total, |kin| &kin.own);
            let before = known.iter().find(|t| t.file == file.file && t.lost.is_none());
            self.add_own(schemas, file.file, file.schema, own, before);
        }
    }

    /// What a newborn counted at itself until then, as one file of it shows.
    fn add_own(
        &mut self,
        schemas: &Schemas,
        file: FileId,
        schema: SchemaId,
        own: &[u64],
        before: Option<&ToldFile>,
    ) {
        let spec = schemas.spec(file);
        if spec.states {
            return;
        }
        let keys = schemas.keys(schema).iter().zip(own).enumerate();
        let counted = keys.map(|(at, (key, own))| {
            let before = before.filter(|told| told.added).map_or(0, |told| {
                let own = told.own.as_ref().unwrap_or(&told.total);
                schemas.value(told.schema, own, schema, at)
            });
            (key, own.saturating_sub(before))
        });
        self.add(&spec.name, counted);
    }

    fn add<'a>(&mut self, file: &Arc<str>, entries: impl Iterator<Item = (&'a Arc<str>, u64)>) {
        for (key, amount) in entries.filter(|(_, amount)| *amount != 0) {
            let files = &mut self.sums.0;
            let at = files.iter().position(|(name, _)| name == file).unwrap_or_else(|| {
                files.push((file.clone(), Values::default()));
                files.len() - 1
            });
            let values = &mut files[at].1.0;
            match values.iter_mut().find(|(k, _)| k == key) {
                Some((_, sum)) => *sum = sum.saturating_add(amount),
                None => values.push((key.clone(), amount)),
            }
        }
    }

    /// What would have been told beside the counts of files that are still there.
    pub(crate) fn add_told(&mut self, told: Option<&Told>, schemas: &Schemas) {
        let Some(told) = told else { return };
        for (file, schema, amounts) in &told.late {
            let keys = schemas.keys(*schema);
            self.add(&schemas.spec(*file).name, keys.iter().zip(amounts.iter().copied()));
        }
        for file in &told.files {
            let Some(lost) = &file.lost else { continue };
            let own = lost.own.as_ref().unwrap_or(&lost.total);
            self.add_own(schemas, file.file, lost.schema, own, Some(file));
            self.add_unseen(&lost.unseen);
        }
        if let Some(removal) = &told.removal {
            self.add_unseen(&removal.unseen);
        }
    }

    fn add_unseen(&mut self, unseen: &Unseen) {
        for (file, values) in &unseen.files {
            let values = values.iter().flat_map(|values| values.0.iter());
            self.add(file, values.map(|(key, amount)| (key, *amount)));
        }
    }
}
