//! Which plugin does what, for those whose actions are counted.

use crate::config::Config;
use crate::pipeline::approve;
use crate::plugin::Plugins;
use crate::store::Store;

/// Says so once, before the first decision.
pub(super) fn route(config: &Config, store: &Store, plugins: &Plugins) {
    let (plugins, pushes) = (plugins.clone(), config.remediation.push);
    store
        .everywhere()
        .plugins
        .route(move |kind, target| approve::served_by(&plugins, pushes, (kind, target)));
}
