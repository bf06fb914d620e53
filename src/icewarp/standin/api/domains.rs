//! Commands about domains.

use super::super::directory::{Domain, text_of};
use super::super::locked;
use super::super::world::furnish_domain;
use super::super::xml::Node;
use super::properties;
use super::{Answer, Call, Outcome, Power, applied, mask_matches, page, refused};

fn is_domain_name(name: &str) -> bool {
    let fine = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    name.len() <= 200 && name.split('.').all(fine)
}

pub(super) fn create(call: &Call<'_>) -> Outcome {
    let name = call.params.value("domainstr").to_lowercase();
    if name.is_empty() {
        return refused("domain_parameter_empty");
    }
    if call.power != Power::Server {
        return refused("account_permission");
    }
    let mut directory = locked(&call.world.directory);
    if directory.domains.contains_key(&name) || !is_domain_name(&name) {
        return Ok(applied(false));
    }
    let mut domain = Domain::default();
    let given = properties::written(call.params.child("domainproperties"));
    domain.properties.extend(given.into_iter().filter(|(name, _)| properties::is_of_domain(name)));
    furnish_domain(&mut domain, call.world.difficulties.domain_accounts);
    directory.domains.insert(name.clone(), domain);
    directory.save_domain(&name)?;
    directory.save_account(&format!("public-folders@{name}"))?;
    Ok(applied(true))
}

pub(super) fn delete(call: &Call<'_>) -> Outcome {
    let name = call.domain_param()?;
    if call.power != Power::Server {
        return refused("account_permission");
    }
    let mut directory = locked(&call.world.directory);
    let locals: Vec<String> =
        directory.domains.get(&name).map(|domain| domain.accounts.keys().cloned().collect()).unwrap_or_default();
    directory.remove_domain(&name)?;
    drop(directory);
    for local in locals {
        call.world.remove_data(&format!("{local}@{name}"))?;
    }
    Ok(applied(true))
}

pub(super) fn list(call: &Call<'_>) -> Outcome {
    let filter = call.params.child("filter");
    let value = |name: &str| filter.map_or("", |filter| filter.value(name));
    let directory = locked(&call.world.directory);
    let wanted = directory.domains.iter().filter(|(name, domain)| {
        let kind = value("typemask");
        mask_matches(value("namemask"), name)
            && (kind.is_empty() || kind == text_of(&domain.properties, "d_type"))
            && call.needs_power_over(name).is_ok()
    });
    let item = |(name, domain): (&String, &Domain)| {
        Node::of(
            "item",
            vec![
                Node::text("name", name.clone()),
                Node::text("desc", text_of(&domain.properties, "d_description")),
                Node::text("domaintype", text_of(&domain.properties, "d_type")),
                Node::text("accountcount", domain.accounts.len().to_string()),
            ],
        )
    };
    Ok(page(call.params, wanted.map(item).collect()))
}

pub(super) fn properties(call: &Call<'_>) -> Outcome {
    let name = call.domain_param()?;
    let directory = locked(&call.world.directory);
    let Some(domain) = directory.domains.get(&name) else { return refused("domain_invalid") };
    Ok(properties::read(call.params.child("domainpropertylist"), |name| (domain.properties.get(name).cloned(), "2")))
}

pub(super) fn set_properties(call: &Call<'_>) -> Outcome {
    let name = call.domain_param()?;
    let mut directory = locked(&call.world.directory);
    let Some(domain) = directory.domains.get_mut(&name) else { return refused("domain_invalid") };
    let mut done = false;
    for (property, value) in properties::written(call.params.child("propertyvaluelist")) {
        let write_only = property == "d_directorycache_refreshnow";
        done |= write_only || properties::is_of_domain(&property);
        if properties::is_of_domain(&property) {
            domain.properties.insert(property, value);
        }
    }
    directory.save_domain(&name)?;
    Ok::<Answer, Answer>(applied(done))
}
