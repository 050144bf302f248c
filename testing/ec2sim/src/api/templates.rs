//! Launch templates.

use std::collections::BTreeSet;

use super::listing::Listing;
use super::tags::{self, TagSpecs};
use super::{Ctx, time};
use crate::error::{ApiError, ApiResult};
use crate::filters::{Filters, Values, maybe, one, shown};
use crate::params::Params;
use crate::world::region::{LaunchTemplate, Region, TemplateVersion};
use crate::xml::Xml;

/// One version of one template.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// The template.
    pub(crate) template_id: String,
    /// The template's name.
    pub(crate) template_name: String,
    /// The version.
    pub(crate) version: TemplateVersion,
}

impl Resolved {
    /// The tags that EC2 gives to what is launched from a template.
    pub(crate) fn system_tags(&self) -> Vec<(&'static str, String)> {
        vec![
            ("aws:ec2launchtemplate:id", self.template_id.clone()),
            (
                "aws:ec2launchtemplate:version",
                self.version.number.to_string(),
            ),
        ]
    }
}

/// What a launch asks for: the template's parameters under those given.
pub(crate) fn merge(version: &Resolved, given: &Params) -> Params {
    let names: BTreeSet<&str> = given.children().map(|(name, _)| name).collect();
    let under = version
        .version
        .data
        .iter()
        .filter(|(path, _)| !names.contains(path.split('.').next().unwrap_or_default()));
    let pairs: Vec<(String, String)> = under.cloned().chain(given.pairs()).collect();
    Params::from_pairs(pairs)
}

fn find<'a>(region: &'a Region, by: &Params) -> ApiResult<&'a LaunchTemplate> {
    match (by.str("LaunchTemplateId"), by.str("LaunchTemplateName")) {
        (Some(id), None) => region.templates.get(id).ok_or_else(|| {
            let message =
                format!("The specified launch template, with template ID {id}, does not exist.");
            ApiError::new("InvalidLaunchTemplateId.NotFound", message)
        }),
        (None, Some(name)) => region
            .templates
            .values()
            .find(|t| t.name == name)
            .ok_or_else(|| {
                let message = format!(
                    "The specified launch template, with template name {name}, does not exist."
                );
                ApiError::new("InvalidLaunchTemplateName.NotFoundException", message)
            }),
        (Some(_), Some(_)) => Err(ApiError::combination(
            "Give the id or the name of a launch template, not both.",
        )),
        (None, None) => Err(ApiError::missing("LaunchTemplateId")),
    }
}

fn version<'a>(template: &'a LaunchTemplate, wanted: &str) -> ApiResult<&'a TemplateVersion> {
    let number = match wanted {
        "$Default" | "" => Some(template.default_version),
        "$Latest" => template.versions.last().map(|version| version.number),
        number => number.parse().ok(),
    };
    let found = template
        .versions
        .iter()
        .find(|version| Some(version.number) == number);
    found.ok_or_else(|| {
        let message = format!(
            "Could not find the specified version {wanted} for the launch \
                               template with ID {}.",
            template.id
        );
        ApiError::new("InvalidLaunchTemplateId.VersionNotFound", message)
    })
}

/// The version of a template that a `LaunchTemplate` parameter names.
pub(crate) fn resolve(ctx: &mut Ctx<'_>, by: &Params) -> ApiResult<Resolved> {
    let template = find(ctx.region(), by)?;
    let version = version(template, by.str("Version").unwrap_or("$Default"))?;
    Ok(Resolved {
        template_id: template.id.clone(),
        template_name: template.name.clone(),
        version: version.clone(),
    })
}

fn new_version(
    ctx: &Ctx<'_>,
    number: i64,
    under: Option<&TemplateVersion>,
) -> ApiResult<TemplateVersion> {
    let params = ctx.params();
    let given = params
        .get("LaunchTemplateData")
        .ok_or_else(|| ApiError::missing("LaunchTemplateData"))?;
    let given = Params::from_pairs(given.pairs());
    let names: BTreeSet<&str> = given.children().map(|(name, _)| name).collect();
    let mut data: Vec<(String, String)> = under
        .into_iter()
        .flat_map(|version| version.data.iter().cloned())
        .filter(|(path, _)| !names.contains(path.split('.').next().unwrap_or_default()))
        .collect();
    data.extend(given.pairs());
    Ok(TemplateVersion {
        number,
        description: params
            .str("VersionDescription")
            .unwrap_or_default()
            .to_owned(),
        created_at: ctx.now,
        data,
    })
}

/// CreateLaunchTemplate.
pub(crate) fn create(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let name = params.need("LaunchTemplateName")?;
    let specs = TagSpecs::parse(params, &["launch-template"])?;
    let first = new_version(ctx, 1, None)?;
    if ctx
        .region()
        .templates
        .values()
        .any(|template| template.name == name)
    {
        let message = "Launch template name already in use.";
        return Err(ApiError::new(
            "InvalidLaunchTemplateName.AlreadyExistsException",
            message,
        ));
    }
    ctx.dry_run_ends()?;
    let local = ctx.local();
    let template = LaunchTemplate {
        id: local.core.ids.fresh("lt"),
        name: name.to_owned(),
        created_at: local.now,
        default_version: 1,
        versions: vec![first],
    };
    tags::attach(local.region, &template.id, specs.of("launch-template"));
    let mut xml = Xml::new();
    xml.nest("launchTemplate", |xml| write(xml, local.region, &template));
    local.region.templates.insert(template.id.clone(), template);
    Ok(xml)
}

/// CreateLaunchTemplateVersion.
pub(crate) fn create_version(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let template = find(ctx.region(), params)?.clone();
    let source = params
        .str("SourceVersion")
        .map(|wanted| version(&template, wanted))
        .transpose()?;
    let number = template.versions.last().map_or(1, |last| last.number + 1);
    let made = new_version(ctx, number, source)?;
    ctx.dry_run_ends()?;
    let mut xml = Xml::new();
    xml.nest("launchTemplateVersion", |xml| {
        write_version(xml, ctx.region(), &template, &made);
    });
    if let Some(template) = ctx.local().region.templates.get_mut(&template.id) {
        template.versions.push(made);
    }
    Ok(xml)
}

/// DescribeLaunchTemplates.
pub(crate) fn describe(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let names = ctx.params().strings("LaunchTemplateName");
    let region = ctx.region();
    if let Some(unknown) = names
        .iter()
        .find(|name| !region.templates.values().any(|t| t.name == **name))
    {
        let message =
            format!("The specified launch template, with template name {unknown}, does not exist.");
        return Err(ApiError::new(
            "InvalidLaunchTemplateName.NotFoundException",
            message,
        ));
    }
    Listing {
        action: "DescribeLaunchTemplates",
        ids: "LaunchTemplateId",
        not_found: "InvalidLaunchTemplateId.NotFound",
        what: "launch template",
        filters: &["create-time", "launch-template-name"],
        all: |region| &region.templates,
        values,
        set: "launchTemplates",
        write,
    }
    .answer_if(ctx, |template| {
        names.is_empty() || names.contains(&template.name.as_str())
    })
}

fn values<'a>(_: &'a Region, template: &'a LaunchTemplate, filter: &str) -> Values<'a> {
    match filter {
        "create-time" => one(time(template.created_at)),
        _ => one(template.name.as_str()),
    }
}

/// DescribeLaunchTemplateVersions.
pub(crate) fn describe_versions(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let wanted = params.strings("LaunchTemplateVersion");
    let known = [
        "create-time",
        "image-id",
        "instance-type",
        "is-default-version",
    ];
    let filters = Filters::parse(params, &known)?;
    let region = ctx.region();
    let template = find(region, params)?;
    let mut versions: Vec<&TemplateVersion> = if wanted.is_empty() {
        template.versions.iter().collect()
    } else {
        wanted
            .iter()
            .map(|wanted| version(template, wanted))
            .collect::<ApiResult<_>>()?
    };
    versions.retain(|version| {
        filters.pass(None, |name| match name {
            "create-time" => one(time(version.created_at)),
            "image-id" => maybe(version.text("ImageId")),
            "instance-type" => maybe(version.text("InstanceType")),
            _ => shown(version.number == template.default_version),
        })
    });
    let mut xml = Xml::new();
    xml.list("launchTemplateVersionSet", versions, |xml, version| {
        write_version(xml, region, template, version);
    });
    Ok(xml)
}

/// ModifyLaunchTemplate: the default version.
pub(crate) fn modify(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let template = find(ctx.region(), params)?.clone();
    let default = version(&template, params.need("SetDefaultVersion")?)?.number;
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    if let Some(template) = region.templates.get_mut(&template.id) {
        template.default_version = default;
    }
    let mut xml = Xml::new();
    let changed = &region.templates[&template.id];
    xml.nest("launchTemplate", |xml| write(xml, region, changed));
    Ok(xml)
}

/// DeleteLaunchTemplate.
pub(crate) fn delete(ctx: &mut Ctx<'_>) -> ApiResult<Xml> {
    let params = ctx.params();
    let template = find(ctx.region(), params)?.clone();
    ctx.dry_run_ends()?;
    let region = ctx.local().region;
    let mut xml = Xml::new();
    xml.nest("launchTemplate", |xml| write(xml, region, &template));
    region.templates.remove(&template.id);
    region.tags.remove(&template.id);
    Ok(xml)
}

fn creator(region: &Region) -> String {
    format!("arn:aws:iam::{}:user/developer", region.account)
}

fn write(xml: &mut Xml, region: &Region, template: &LaunchTemplate) {
    xml.text("launchTemplateId", &template.id);
    xml.text("launchTemplateName", &template.name);
    xml.text("createTime", time(template.created_at));
    xml.text("createdBy", creator(region));
    xml.text("defaultVersionNumber", template.default_version);
    xml.text(
        "latestVersionNumber",
        template.versions.last().map_or(1, |v| v.number),
    );
    tags::write(xml, region, &template.id);
}

fn write_version(xml: &mut Xml, region: &Region, t: &LaunchTemplate, version: &TemplateVersion) {
    xml.text("launchTemplateId", &t.id);
    xml.text("launchTemplateName", &t.name);
    xml.text("versionNumber", version.number);
    xml.text("versionDescription", &version.description);
    xml.text("createTime", time(version.created_at));
    xml.text("createdBy", creator(region));
    xml.text("defaultVersion", version.number == t.default_version);
    xml.nest("launchTemplateData", |xml| {
        write_data(
            xml,
            &Params::from_pairs(version.data.iter().cloned()),
            false,
        );
    });
}

/// Parameters as the response names them: first letter small, lists with `Set` at their end.
fn write_data(xml: &mut Xml, data: &Params, in_interface: bool) {
    for (name, child) in data.children() {
        let mut small = name.to_owned();
        small[..1].make_ascii_lowercase();
        let items = data.list(name);
        if items.is_empty() {
            match child.value() {
                Some(value) => xml.text(&small, value),
                None => xml.nest(&small, |xml| write_data(xml, child, false)),
            }
            continue;
        }
        // The groups of an interface are the one list with names of its own.
        let groups = in_interface && name == "SecurityGroupId";
        let (set, item) = if groups {
            ("groupSet".to_owned(), "groupId")
        } else {
            (format!("{small}Set"), "item")
        };
        xml.nest(&set, |xml| {
            for entry in items {
                match entry.value() {
                    Some(value) => xml.text(item, value),
                    None => xml.nest(item, |xml| {
                        write_data(xml, entry, name == "NetworkInterface");
                    }),
                }
            }
        });
    }
}
