//! What can be chosen about graphs after they were read: the order of their nodes, and whether these work in place.
//!
//! A model whose tensors come from a graph keeps it beside them; another choice makes the tensors anew.
//! Reading needs no clock, so what takes time is here.

use std::sync::Arc;

use vramkit_plan::report::GraphReport;
use vramkit_plan::{Model, OrderBudget};

use crate::demand::{Demand, Settings};
use crate::error::ReadError;
use crate::onnx::{OnnxGraph, OrderSaving, RuntimeLevel, RuntimePattern};

impl Demand {
    /// What is known of each model's graph, for those that come from one.
    pub fn graphs(&self) -> Vec<Option<GraphReport>> {
        self.settings.iter().map(|settings| Some(settings.graph.as_ref()?.graph.report())).collect()
    }

    /// What ONNX Runtime plans for each model that comes from a graph, and the tensors that are in that, as a model of their own.
    ///
    /// # Errors
    /// Sizes that do not go into 64 bits.
    pub fn as_run(&self, level: RuntimeLevel) -> Result<Vec<Option<(RuntimePattern, Model)>>, ReadError> {
        let one = |(model, settings): (&Model, &Settings)| {
            let source = settings.graph.as_ref()?;
            let run = source.graph.as_run(&model.name, level);
            Some(run.map_err(|reason| ReadError::within(&model.name, reason)))
        };
        self.models.iter().zip(&self.settings).map(|pair| one(pair).transpose()).collect()
    }

    /// Whether any model comes from a graph, of which all that is here can be chosen.
    pub fn has_graph(&self) -> bool {
        self.settings.iter().any(|settings| settings.graph.is_some())
    }

    /// Runs the nodes of every graph in the order with least live at most that is found within a budget. Graphs share the budget;
    /// what that saves is each model's [`Settings::order`](crate::Settings::order).
    pub fn reorder(&mut self, budget: &OrderBudget<'_>) {
        self.arrange(budget, |graph, in_place, _, budget| graph.reorder(in_place, budget));
    }

    /// Runs cheap nodes of every graph again rather than keeping what they made, where that has less live at most than the order that
    /// [`reorder`](Self::reorder) found (which is looked for first where it was not). What was found is never given up for worse.
    pub fn recompute(&mut self, budget: &OrderBudget<'_>) {
        self.arrange(budget, |graph, in_place, saved, budget| match saved {
            Some(saved) => graph.recompute(saved, in_place, budget),
            None => graph.reorder(in_place, budget),
        });
    }

    /// Arranges the nodes of one graph after the other.
    fn arrange(
        &mut self,
        budget: &OrderBudget<'_>,
        how: impl Fn(&mut OnnxGraph, bool, Option<OrderSaving>, &OrderBudget<'_>) -> OrderSaving,
    ) {
        let mut graphs = self.settings.iter().filter(|settings| settings.graph.is_some()).count();
        for (model, settings) in self.models.iter_mut().zip(&mut self.settings) {
            let Some(source) = &mut settings.graph else { continue };
            let graph = Arc::make_mut(&mut source.graph);
            settings.order = Some(how(graph, source.in_place, settings.order, &budget.share(graphs)));
            model.tensors = source.tensors(model);
            graphs -= 1;
        }
    }

    /// The same without operators that work in place; `None` where it has none.
    pub fn without_in_place(&self) -> Option<Self> {
        let is_shared = |model: &Model| model.tensors.iter().any(|tensor| tensor.alias_group.is_some());
        let has_any = self.models.iter().zip(&self.settings).any(|(model, settings)| {
            settings.graph.as_ref().is_some_and(|source| source.in_place) && is_shared(model)
        });
        if !has_any {
            return None;
        }
        let mut apart = self.clone();
        for (model, settings) in apart.models.iter_mut().zip(&mut apart.settings) {
            let Some(source) = &mut settings.graph else { continue };
            source.in_place = false;
            model.tensors = source.tensors(model);
        }
        Some(apart)
    }
}
