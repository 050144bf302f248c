//! Prices, images and work that tests set.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{Handled, Refused, ok, read, refuse};
use crate::call::DEFAULT_ACCOUNT;
use crate::catalogue;
use crate::reply::json;
use crate::server::Received;
use crate::sim::Sim;
use crate::world::storage::Image;
use crate::world::zones::is_region;
use crate::world::{Place, Work};

fn default_account() -> String {
    DEFAULT_ACCOUNT.to_owned()
}

fn place(account: String, region: String) -> Result<Place, Refused> {
    if is_region(&region) {
        Ok(Place { account, region })
    } else {
        Err(refuse(400, format!("'{region}' is not a region")))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ImageForm {
    region: String,
    #[serde(default = "default_account")]
    account: String,
    name: String,
    #[serde(default = "x86")]
    architecture: String,
    #[serde(default = "root_device")]
    root_device: String,
    #[serde(default = "root_size")]
    root_size: i64,
}

fn x86() -> String {
    "x86_64".to_owned()
}

fn root_device() -> String {
    "/dev/xvda".to_owned()
}

fn root_size() -> i64 {
    8
}

/// Adds an image of the account's own.
pub(crate) fn add_image(sim: &Sim, received: &Received) -> Handled {
    let form: ImageForm = read(received)?;
    let place = place(form.account, form.region)?;
    let id = sim.with(|world, now| {
        let local = world.local(&place, now);
        let id = local.core.ids.fresh("ami");
        let image = Image {
            id: id.clone(),
            name: form.name,
            description: String::new(),
            architecture: form.architecture,
            owner: place.account.clone(),
            owner_alias: None,
            public: false,
            root_device: form.root_device,
            root_size: form.root_size,
            snapshot_id: local.core.ids.fresh("snap"),
            source_instance: None,
            created_at: now,
            available_at: now,
        };
        local.region.images.insert(id.clone(), image);
        id
    });
    Ok(json(200, &json!({ "imageId": id })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PriceForm {
    region: String,
    #[serde(default = "default_account")]
    account: String,
    instance_type: String,
    zone: String,
    price: String,
}

/// Sets a spot price.
pub(crate) fn set_price(sim: &Sim, received: &Received) -> Handled {
    let form: PriceForm = read(received)?;
    let place = place(form.account, form.region)?;
    if catalogue::find(&form.instance_type).is_none() {
        return Err(refuse(
            400,
            format!("'{}' is not an instance type", form.instance_type),
        ));
    }
    if !form
        .price
        .parse::<f64>()
        .is_ok_and(|price| price.is_finite() && price > 0.0)
    {
        return Err(refuse(400, format!("'{}' is not a price", form.price)));
    }
    sim.with(|world, now| {
        let prices = &mut world.local(&place, now).region.spot_prices;
        prices.insert((form.instance_type, form.zone), form.price);
    });
    Ok(ok())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WorkForm {
    takes_ms: u64,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// Sets what instances without a machine do from now on, when they begin to run.
pub(crate) fn set_work(sim: &Sim, received: &Received) -> Handled {
    let WorkForm { takes_ms, tags } = read(received)?;
    if sim.config.machines.is_some() {
        return Err(refuse(409, "instances have machines, which do their work"));
    }
    let work = Work {
        takes: Duration::from_millis(takes_ms),
        tags,
    };
    sim.with(|world, _| world.core.work = Some(work));
    Ok(ok())
}
