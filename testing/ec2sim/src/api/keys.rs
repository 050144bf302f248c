//! Key pairs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::listing::Listing;
use super::tags::{self, TagSpecs};
use super::{Ctx, done, time};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Filters, Values, one};
use crate::world::ids::hex;
use crate::world::region::{KeyPair, Region};
use crate::xml::Xml;

fn new_name<'a>(ctx: &mut Ctx<'a>) -> ApiResult<&'a str> {
    let name = ctx.params().need("KeyName")?;
    if name.len() > 255 {
        return Err(ApiError::invalid(
            "KeyName",
            name,
            "It must be at most 255 long.",
        ));
    }
    if ctx.region().key_pair(name).is_some() {
        let message = format!("The keypair '{name}' already exists.");
        return Err(ApiError::new("InvalidKeyPair.Duplicate", message));
    }
    Ok(name)
}

fn add(ctx: &mut Ctx<'_>, key: KeyPair, specs: &TagSpecs, material: Option<&str>) -> Xml {
    let local = ctx.local();
    tags::attach(local.region, &key.id, specs.of("key-pair"));
    let mut xml = Xml::new();
    xml.text("keyName", &key.name);
    xml.text("keyFingerprint", &key.fingerprint);
    xml.opt("keyMaterial", material);
    xml.text("keyPairId", &key.id);
    tags::write(&mut xml, local.region, &key.id);
    local.region.key_pairs.insert(key.id.clone(), key);
    xml
}

/// ImportKeyPair.
pub(crate) fn import(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let name = new_name(ctx)?;
    let encoded = params.need("PublicKeyMaterial")?;
    let specs = TagSpecs::parse(params, &["key-pair"])?;
    let bad = || {
        ApiError::new(
            "InvalidKey.Format",
            "Key is not in valid OpenSSH public key format",
        )
    };
    let public_key = STANDARD
        .decode(encoded)
        .ok()
        .and_then(|key| String::from_utf8(key).ok());
    let public_key = public_key.ok_or_else(bad)?;
    let mut words = public_key.split_whitespace();
    let kind = match words.next() {
        Some("ssh-rsa") => "rsa",
        Some("ssh-ed25519") => "ed25519",
        _ => return Err(bad()),
    };
    let body = words
        .next()
        .and_then(|body| STANDARD.decode(body).ok())
        .ok_or_else(bad)?;
    ctx.dry_run_ends()?;
    let fingerprint = match kind {
        "ed25519" => STANDARD.encode(Sha256::digest(&body)),
        _ => colons(&Sha256::digest(&body)[..16]),
    };
    let key = KeyPair {
        id: ctx.local().core.ids.fresh("key"),
        name: name.to_owned(),
        kind,
        fingerprint,
        public_key: public_key.trim().to_owned(),
        created_at: ctx.now,
    };
    Ok(add(ctx, key, &specs, None))
}

/// CreateKeyPair. The private key is a placeholder: nothing here can be logged in to.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let name = new_name(ctx)?;
    let kind = match params.str("KeyType") {
        None | Some("rsa") => "rsa",
        Some("ed25519") => "ed25519",
        Some(other) => {
            return Err(ApiError::invalid(
                "KeyType",
                other,
                "Expecting rsa or ed25519.",
            ));
        }
    };
    let _format = params.str("KeyFormat");
    let specs = TagSpecs::parse(params, &["key-pair"])?;
    ctx.dry_run_ends()?;
    let ids = &mut ctx.local().core.ids;
    let (id, secret) = (ids.fresh("key"), ids.hex());
    let digest = Sha256::digest(&secret);
    let material = format!(
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
        STANDARD.encode(&secret)
    );
    let key = KeyPair {
        id,
        name: name.to_owned(),
        kind,
        fingerprint: colons(&digest[..20]),
        public_key: format!("ssh-{kind} {} {name}", STANDARD.encode(digest)),
        created_at: ctx.now,
    };
    Ok(add(ctx, key, &specs, Some(&material)))
}

fn colons(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| hex(&[*byte]))
        .collect::<Vec<_>>()
        .join(":")
}

/// DescribeKeyPairs.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let names = params.strings("KeyName");
    // Read here as well, so that a missing name is found before anything is listed.
    Filters::parse(params, FILTERS)?;
    if let Some(unknown) = names
        .iter()
        .find(|name| ctx.region().key_pair(name).is_none())
    {
        let message = format!("The key pair '{unknown}' does not exist");
        return Err(ApiError::new("InvalidKeyPair.NotFound", message));
    }
    let with_key = params.bool("IncludePublicKey")?.unwrap_or(false);
    Listing {
        action: "DescribeKeyPairs",
        ids: "KeyPairId",
        not_found: "InvalidKeyPair.NotFound",
        what: "key pair",
        filters: FILTERS,
        all: |region| &region.key_pairs,
        values,
        set: "keySet",
        write: if with_key { write_with_key } else { write },
    }
    .answer_if(ctx, |key| {
        names.is_empty() || names.contains(&key.name.as_str())
    })
}

const FILTERS: &[&str] = &["key-pair-id", "fingerprint", "key-name"];

fn values<'a>(_: &'a Region, key: &'a KeyPair, filter: &str) -> Values<'a> {
    match filter {
        "key-pair-id" => one(key.id.as_str()),
        "fingerprint" => one(key.fingerprint.as_str()),
        _ => one(key.name.as_str()),
    }
}

fn write(xml: &mut Xml, region: &Region, key: &KeyPair) {
    xml.text("keyPairId", &key.id);
    xml.text("keyName", &key.name);
    xml.text("keyFingerprint", &key.fingerprint);
    xml.text("keyType", key.kind);
    xml.text("createTime", time(key.created_at));
    tags::write(xml, region, &key.id);
}

fn write_with_key(xml: &mut Xml, region: &Region, key: &KeyPair) {
    write(xml, region, key);
    xml.text("publicKey", &key.public_key);
}

/// DeleteKeyPair: unknown names are fine, as with EC2.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let (name, id) = (params.str("KeyName"), params.str("KeyPairId"));
    if name.is_none() && id.is_none() {
        return Err(ApiError::missing("KeyName"));
    }
    let region = ctx.region();
    let found = region
        .key_pairs
        .values()
        .find(|key| name.is_none_or(|name| key.name == name) && id.is_none_or(|id| key.id == id));
    let found = found.map(|key| key.id.clone());
    if let (None, Some(id)) = (&found, id) {
        return Err(ApiError::not_found(
            "InvalidKeyPair.NotFound",
            "key pair ID",
            id,
        ));
    }
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    let mut xml = done();
    if let Some(id) = found {
        region.key_pairs.remove(&id);
        region.tags.remove(&id);
        xml.text("keyPairId", id);
    }
    Ok(xml)
}
