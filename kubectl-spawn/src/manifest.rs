//! From the command line to the object: what the user said and nothing else, so that defaults stay
//! the API's business.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use spore_core::lifecycle::Action;
use spore_crds::{
    IdleSpec, Market, OnCompleteSpec, SporeInstanceSpec, instance::default_completion_delay,
};

use crate::{check::LONGEST_WORD, cmd::launch::LaunchArgs, error::Error, kind::Kind};

/// Names that the API server makes begin with this.
const GENERATED: &str = "spore-";

/// The spore to create.
pub(crate) fn spore(args: &LaunchArgs, namespace: Option<&str>) -> Result<Value, Error> {
    Ok(object(Kind::Spore, args.name(), namespace, template(args)?))
}

/// The array to create.
pub(crate) fn array(
    args: &LaunchArgs,
    members: u32,
    namespace: Option<&str>,
) -> Result<Value, Error> {
    let mut spec = json!({"replicas": members, "template": template(args)?});
    if let Some(together) = args.array.min_available {
        if together > members {
            return Err(usage(
                format!("{together} instances can never be had together of {members}"),
                "--min-available is --count at the most.".into(),
            ));
        }
        spec["minAvailable"] = json!(together);
    }
    Ok(object(Kind::Array, args.name(), namespace, spec))
}

/// An object as the API takes it.
pub(crate) fn object(
    kind: Kind,
    name: Option<&str>,
    namespace: Option<&str>,
    spec: Value,
) -> Value {
    let mut metadata = Map::new();
    match name {
        Some(name) => metadata.insert("name".into(), json!(name)),
        None => metadata.insert("generateName".into(), json!(GENERATED)),
    };
    if let Some(namespace) = namespace {
        metadata.insert("namespace".into(), json!(namespace));
    }
    let mut object = json!({
        "apiVersion": format!("{}/v1alpha1", spore_crds::GROUP),
        "kind": kind.word(),
        "metadata": metadata,
    });
    object["spec"] = spec;
    object
}

/// What flags say of an instance. Only a sweep's rows may say the type instead.
pub(crate) fn template(args: &LaunchArgs) -> Result<Value, Error> {
    let mut value = without_defaults(&spec(args)?);
    if let (None, Value::Object(fields)) = (&args.instance_type, &mut value) {
        fields.remove("instanceType");
    }
    Ok(value)
}

fn spec(args: &LaunchArgs) -> Result<SporeInstanceSpec, Error> {
    let tags = tags(&args.tag)?;
    let env = pairs("--env", "A variable has one value.", &args.env)?;
    let command = args.command();
    check_command(&command)?;
    let idle = args.idle_timeout.map(|timeout| IdleSpec {
        timeout,
        action: args.on_idle.into(),
    });
    let on_complete = OnCompleteSpec {
        action: args.on_complete.into(),
        delay: args.completion_delay.unwrap_or(default_completion_delay()),
    };
    if args.spot {
        let idle_stops = idle
            .as_ref()
            .is_some_and(|idle| idle.action == Action::Stop);
        for (flag, stops) in [
            ("--on-idle", idle_stops),
            ("--on-complete", on_complete.action == Action::Stop),
        ] {
            if stops {
                return Err(usage(
                    format!(
                        "{flag} stop does not go with --spot: a Spot instance cannot be stopped"
                    ),
                    format!("Leave out --spot, or say {flag} terminate."),
                ));
            }
        }
    }
    Ok(SporeInstanceSpec {
        instance_type: args.instance_type.clone().unwrap_or_default(),
        region: args.region.clone(),
        image_id: args.image_id.clone(),
        ttl: args.ttl,
        extend_to: None,
        idle,
        on_complete,
        market: if args.spot {
            Market::Spot
        } else {
            Market::OnDemand
        },
        subnet_id: args.subnet_id.clone(),
        security_group_ids: groups(&args.security_group_ids)?,
        key_name: args.key_name.clone(),
        command,
        env,
        instance_profile: args.instance_profile.clone(),
        member: None,
        tags,
    })
}

fn groups(ids: &[String]) -> Result<Vec<String>, Error> {
    const MOST: usize = 16;
    let mut unique = ids.to_vec();
    unique.sort();
    unique.dedup();
    if unique.len() > MOST {
        return Err(usage(
            format!("{} security groups are too many", unique.len()),
            format!("An instance has at most {MOST}."),
        ));
    }
    // In the order given, each once.
    let mut seen = std::collections::BTreeSet::new();
    Ok(ids.iter().filter(|id| seen.insert(*id)).cloned().collect())
}

fn pairs(
    flag: &str,
    advice: &str,
    given: &[(String, String)],
) -> Result<BTreeMap<String, String>, Error> {
    let mut pairs = BTreeMap::new();
    for (key, value) in given {
        let before = pairs.insert(key.clone(), value.clone());
        if before.is_some_and(|before| before != *value) {
            return Err(usage(
                format!("{flag} {key} is given twice with different values"),
                advice.into(),
            ));
        }
    }
    Ok(pairs)
}

fn tags(given: &[(String, String)]) -> Result<BTreeMap<String, String>, Error> {
    const MOST: usize = 25;
    let tags = pairs("--tag", "A tag has one value.", given)?;
    if tags.len() > MOST {
        return Err(usage(
            format!("{} tags are too many", tags.len()),
            format!("A spore takes {MOST}; EC2 admits 50, and Spore needs the others."),
        ));
    }
    Ok(tags)
}

fn check_command(command: &[String]) -> Result<(), Error> {
    const MOST_WORDS: usize = 256;
    if command.first().is_some_and(String::is_empty) {
        return Err(usage(
            "the command after -- begins with an empty word".into(),
            "Its first word is the program to run.".into(),
        ));
    }
    if command.len() > MOST_WORDS
        || command
            .iter()
            .any(|word| word.chars().count() > LONGEST_WORD)
    {
        return Err(usage(
            "the command after -- is too long".into(),
            format!(
                "It may have {MOST_WORDS} words of {LONGEST_WORD} characters; put more into the image or fetch it."
            ),
        ));
    }
    Ok(())
}

/// The spec without what the API fills in anyway.
fn without_defaults(spec: &SporeInstanceSpec) -> Value {
    let mut value = json!(spec);
    if let Value::Object(fields) = &mut value {
        if spec.market == Market::default() {
            fields.remove("market");
        }
        if spec.on_complete == OnCompleteSpec::default() {
            fields.remove("onComplete");
        }
    }
    value
}

fn usage(what: String, advice: String) -> Error {
    Error::Usage { what, advice }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cmd::launch::args::tests::parse, error::Exit, print};

    fn built(line: &str) -> Result<Value, Error> {
        spore(
            &parse(&line.split_whitespace().collect::<Vec<_>>()).unwrap(),
            None,
        )
    }

    #[test]
    fn only_what_was_said_is_in_the_object() {
        let yaml = print::yaml(&built("train --instance-type g5.xlarge").unwrap());
        insta::assert_snapshot!(yaml, @"
        apiVersion: spore.host/v1alpha1
        kind: SporeInstance
        metadata:
          name: train
        spec:
          instanceType: g5.xlarge
        ");
    }

    #[test]
    fn every_flag_reaches_its_field() {
        let line = "train --instance-type t3.micro --region eu-west-1 --ami ami-01234567 --ttl 1d12h \
            --idle-timeout 30m --on-idle stop --on-complete stop --completion-delay 2m \
            --subnet-id subnet-01234567 --security-group-ids sg-01234567,sg-89abcdef,sg-01234567 \
            --key-name me --tag team=ml --tag cost=a=b --env EPOCHS=3 --env EMPTY= \
            --instance-profile trainer -- python train.py --epochs 3";
        let object = built(line).unwrap();
        insta::assert_snapshot!(print::yaml(&object["spec"]), @r#"
        command:
        - python
        - train.py
        - --epochs
        - "3"
        env:
          EMPTY: ""
          EPOCHS: "3"
        idle:
          action: Stop
          timeout: 30m
        imageId: ami-01234567
        instanceProfile: trainer
        instanceType: t3.micro
        keyName: me
        onComplete:
          action: Stop
          delay: 2m
        region: eu-west-1
        securityGroupIds:
        - sg-01234567
        - sg-89abcdef
        subnetId: subnet-01234567
        tags:
          cost: a=b
          team: ml
        ttl: 1d12h
        "#);
    }

    /// The seed's first array, `spawn launch --count 100 …`, is the same command behind `kubectl`.
    #[test]
    fn the_first_job_array_command_has_its_one_line_counterpart() {
        let args = parse(&[
            "--count",
            "100",
            "--job-array-name",
            "hyperparam-sweep",
            "--instance-type",
            "t3.small",
            "--ttl",
            "2h",
            "--command",
            "python train.py --param-id $JOB_ARRAY_INDEX",
        ])
        .unwrap();
        let object = array(&args, args.members().unwrap(), None).unwrap();
        insta::assert_snapshot!(print::yaml(&object), @"
        apiVersion: spore.host/v1alpha1
        kind: SporeArray
        metadata:
          name: hyperparam-sweep
        spec:
          replicas: 100
          template:
            command:
            - /bin/sh
            - -c
            - python train.py --param-id $JOB_ARRAY_INDEX
            instanceType: t3.small
            ttl: 2h
        ");
    }

    #[test]
    fn without_a_name_the_server_makes_one() {
        let object = built("--instance-type t3.micro --spot").unwrap();
        assert_eq!(object["metadata"], json!({"generateName": "spore-"}));
        assert_eq!(object["spec"]["market"], "Spot");
    }

    #[test]
    fn what_excludes_each_other_is_refused_with_usage() {
        for line in [
            "a --instance-type t3.micro --spot --on-complete stop",
            "a --instance-type t3.micro --spot --idle-timeout 5m --on-idle stop",
            "a --instance-type t3.micro --tag k=1 --tag k=2",
            "a --instance-type t3.micro --env k=1 --env k=2",
        ] {
            assert_eq!(built(line).unwrap_err().exit(), Exit::Usage, "{line}");
        }
        let line = "a --instance-type t3.micro --count 3 --min-available 4";
        let args = parse(&line.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(array(&args, 3, None).unwrap_err().exit(), Exit::Usage);
    }
}
