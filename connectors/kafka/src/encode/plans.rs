//! The prepared tables, found by the address of a schema, which costs a comparison when the table is the
//! one before. Bounded.

use super::table::TablePlan;
use std::collections::HashMap;
use std::sync::Arc;
use tidewire_core::{SchemaVersion, TableName, TableSchema};

/// Most table versions that stay prepared; beyond it all are prepared anew when needed.
const PLANS_MAX: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Plans {
    plans: Vec<TablePlan>,
    /// Each plan keeps its schema alive, so that no other can come to lie at its address.
    by_address: HashMap<usize, usize>,
    by_version: HashMap<(TableName, SchemaVersion), usize>,
    last: (usize, usize),
}

impl Plans {
    /// The number of a schema's plan.
    pub(super) fn find(&mut self, schema: &Arc<TableSchema>) -> Option<usize> {
        let address = Arc::as_ptr(schema).addr();
        if self.last.0 == address {
            return Some(self.last.1);
        }
        let index = match self.by_address.get(&address) {
            Some(index) => *index,
            None => self.adopt(schema)?,
        };
        self.last = (address, index);
        Some(index)
    }

    /// Keeps a plan that was not found.
    pub(super) fn add(&mut self, plan: TablePlan) -> usize {
        if self.plans.len() >= PLANS_MAX {
            *self = Plans::default();
        }
        let index = self.plans.len();
        let address = Arc::as_ptr(&plan.schema).addr();
        self.by_address.insert(address, index);
        self.by_version.insert((plan.schema.name.clone(), plan.schema.version), index);
        self.last = (address, index);
        self.plans.push(plan);
        index
    }

    pub(super) fn get(&self, index: usize) -> Option<&TablePlan> {
        self.plans.get(index)
    }

    // An equal schema at another address takes over the plan.
    fn adopt(&mut self, schema: &Arc<TableSchema>) -> Option<usize> {
        let index = *self.by_version.get(&(schema.name.clone(), schema.version))?;
        let plan = self.plans.get_mut(index).filter(|plan| plan.schema == *schema)?;
        self.by_address.remove(&Arc::as_ptr(&plan.schema).addr());
        self.by_address.insert(Arc::as_ptr(schema).addr(), index);
        plan.schema = Arc::clone(schema);
        Some(index)
    }
}
