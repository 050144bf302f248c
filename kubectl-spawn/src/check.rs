//! Values that the API would refuse are refused here, at once and with the nearest right one.
//!
//! A test holds these functions against the patterns of the CRD.

use spore_core::duration::Duration;

/// How many characters a word of a command or the value of a variable may have.
pub(crate) const LONGEST_WORD: usize = 16_384;

/// A span of time, possibly none.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Duration>()
        .map_err(|error| match suggest_duration(text) {
            Some(right) => format!("{error}; did you mean {right}?"),
            None => error.to_string(),
        })
}

/// A span of time that is longer than nothing.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        span if span.is_zero() => {
            Err("must be longer than nothing, such as 30m, 8h or 1d12h".into())
        }
        span => Ok(span),
    }
}

/// What was probably meant: `2 hours` is `2h`, `1.5h` is `1h30m`, `1w` is `7d`.
fn suggest_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let tail = tail.trim_start();
        let unit_end = tail
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        seconds += number.parse::<f64>().ok()? * unit_seconds(unit)?;
        rest = tail.trim_start_matches([' ', ',']);
    }
    let whole = format!("{seconds:.0}").parse().ok()?;
    Some(Duration::from_secs(whole)).filter(|span| !span.is_zero())
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit.to_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    })
}

/// An EC2 instance type.
pub(crate) fn instance_type(text: &str) -> Result<String, String> {
    if is_instance_type(text) {
        return Ok(text.to_owned());
    }
    Err(match suggest_instance_type(text) {
        Some(right) => format!("not an instance type; did you mean {right}?"),
        None => {
            "not an instance type: write family and size, such as m7i.large or g5.xlarge".into()
        }
    })
}

fn is_instance_type(text: &str) -> bool {
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty() && part.chars().all(allowed)
    };
    text.len() <= 64
        && text
            .split_once('.')
            .is_some_and(|(family, size)| part(family) && part(size))
}

fn suggest_instance_type(text: &str) -> Option<String> {
    const SIZES: [&str; 8] = [
        "nano", "micro", "small", "medium", "xlarge", "large", "metal", "flex",
    ];
    let lower = text.trim().to_lowercase();
    if is_instance_type(&lower) {
        return Some(lower);
    }
    let word = lower.replace([' ', '_', '.'], "");
    let size = SIZES.iter().find(|size| word.ends_with(**size))?;
    let stem = word.strip_suffix(size)?;
    // `g52xlarge`: the last digit belongs to the size, unless it is the generation itself.
    let (family, count) = match stem.char_indices().next_back() {
        Some((at, last))
            if *size == "xlarge" && last.is_ascii_digit() && ends_in_digit(&stem[..at]) =>
        {
            stem.split_at(at)
        }
        _ => (stem, ""),
    };
    Some(format!("{family}.{count}{size}")).filter(|name| is_instance_type(name))
}

fn ends_in_digit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit())
}

/// An AWS region.
pub(crate) fn region(text: &str) -> Result<String, String> {
    if is_region(text) {
        return Ok(text.to_owned());
    }
    let without_zone = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    Err(
        if is_region(without_zone) && text.len() == without_zone.len() + 1 {
            format!("{text} is an availability zone; its region is {without_zone}")
        } else {
            "not a region: write it as us-east-1 or eu-central-1".into()
        },
    )
}

fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let first = parts
        .next()
        .is_some_and(|part| part.len() == 2 && lower(part));
    let last = parts
        .next_back()
        .is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let middle = parts.clone().count() > 0 && parts.all(lower);
    text.len() <= 32 && first && middle && last
}

fn lower(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase())
}

/// The id of a machine image.
pub(crate) fn image_id(text: &str) -> Result<String, String> {
    id("ami", "a machine image's id", text)
}

/// The id of a subnet.
pub(crate) fn subnet_id(text: &str) -> Result<String, String> {
    id("subnet", "a subnet's id", text)
}

/// The id of a security group.
pub(crate) fn security_group_id(text: &str) -> Result<String, String> {
    id("sg", "a security group's id", text)
}

fn id(prefix: &str, what: &str, text: &str) -> Result<String, String> {
    let hex = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'));
    let right = hex.is_some_and(|hex| {
        matches!(hex.len(), 8 | 17)
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    if right {
        return Ok(text.to_owned());
    }
    Err(format!(
        "not {what}: it is {prefix}- and 8 or 17 hexadecimal digits, such as {prefix}-0123456789abcdef0"
    ))
}

/// The name of a key pair.
pub(crate) fn key_name(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=255 => Ok(text.to_owned()),
        _ => Err("a key pair's name has 1 to 255 characters".into()),
    }
}

/// A tag, `KEY=VALUE`.
pub(crate) fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write a tag as KEY=VALUE")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+.,_:@-".contains(c);
    if key.is_empty()
        || key.len() > 128
        || !key.chars().all(allowed)
        || [".", "..", "_index"].contains(&key)
    {
        return Err("a tag's key has up to 128 letters, digits and + - . , _ : @".into());
    }
    if key.starts_with("spawn:") || key.to_lowercase().starts_with("aws:") {
        return Err("keys beginning with spawn: or aws: are reserved".into());
    }
    if value.chars().count() > 256 {
        return Err("a tag's value has up to 256 characters".into());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// A variable of the environment, `NAME=VALUE`.
pub(crate) fn env(text: &str) -> Result<(String, String), String> {
    const RESERVED: [&str; 3] = ["JOB_ARRAY_", "SWEEP_", "PARAM_"];
    let (name, value) = text
        .split_once('=')
        .ok_or("write a variable as NAME=VALUE")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || name.len() > 128 || digit || !name.chars().all(allowed) {
        return Err(
            "a variable's name has letters, digits and underscores and begins with no digit".into(),
        );
    }
    if RESERVED.iter().any(|prefix| name.starts_with(prefix)) {
        return Err("names beginning with JOB_ARRAY_, SWEEP_ or PARAM_ are set by Spore".into());
    }
    if value.chars().count() > LONGEST_WORD {
        return Err(format!("a variable has up to {LONGEST_WORD} characters"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// A line for a shell.
pub(crate) fn line(text: &str) -> Result<String, String> {
    match text.chars().count() {
        _ if text.trim().is_empty() => Err("there is nothing in it to run".into()),
        0..=LONGEST_WORD => Ok(text.to_owned()),
        _ => Err(format!("a command has up to {LONGEST_WORD} characters")),
    }
}

/// The name of an instance profile.
pub(crate) fn instance_profile(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    if text.starts_with("arn:") {
        return Err("write the profile's name, not its ARN".into());
    }
    match text.len() {
        1..=128 if text.chars().all(allowed) => Ok(text.to_owned()),
        _ => {
            Err("an instance profile's name has up to 128 letters, digits and + = , . @ _ -".into())
        }
    }
}

/// The name of a Kubernetes object.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(edge)
            && label.ends_with(edge)
            && label.chars().all(|c| edge(c) || c == '-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(text.to_owned());
    }
    let near = text
        .to_lowercase()
        .replace(|c: char| !edge(c) && c != '.', "-");
    let near = near.trim_matches(['-', '.']);
    Err(match near {
        "" => "names have lower-case letters, digits, - and .".into(),
        near => {
            format!("names have lower-case letters, digits, - and . only; did you mean {near}?")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the API's schema demands of a field: its pattern, or else the expression in its rules.
    fn pattern(field: &str) -> regex_lite::Regex {
        let (_, crd) = spore_crds::crd::all().remove(0);
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let path = format!("/openAPIV3Schema/properties/spec/properties/{field}");
        let field = schema.pointer(&path).expect("the field is there");
        let rule = field["x-kubernetes-validations"][0]["rule"].as_str();
        let in_rule = rule.and_then(|rule| rule.strip_prefix("self.matches('")?.strip_suffix("')"));
        let pattern = field["pattern"].as_str().or(in_rule);
        regex_lite::Regex::new(pattern.expect("the field has a pattern")).unwrap()
    }

    fn agrees(field: &str, check: impl Fn(&str) -> bool, texts: &[&str]) {
        let pattern = pattern(field);
        let mut both = [false; 2];
        for text in texts {
            let admitted = pattern.is_match(text);
            assert_eq!(check(text), admitted, "{field}: {text:?}");
            both[usize::from(admitted)] = true;
        }
        assert_eq!(both, [true; 2], "{field}: samples of both kinds");
    }

    #[test]
    fn what_the_api_refuses_is_refused_here_and_nothing_else() {
        agrees(
            "instanceType",
            |text| instance_type(text).is_ok(),
            &[
                "m7i.large",
                "u-6tb1.metal",
                "t3micro",
                "T3.micro",
                ".large",
                "m7i.",
                "m7i.large.x",
                "",
            ],
        );
        agrees(
            "region",
            |text| region(text).is_ok(),
            &[
                "us-east-1",
                "us-gov-west-1",
                "us-east",
                "us-east-1a",
                "-east-1",
                "us-1",
                "us--1",
                "usa-east-1",
                "us-east-",
                "",
            ],
        );
        agrees(
            "imageId",
            |text| image_id(text).is_ok(),
            &[
                "ami-01234567",
                "ami-0123456789abcdef0",
                "ami-0123456",
                "ami-0123456G",
                "sg-01234567",
                "ami",
                "",
            ],
        );
        agrees(
            "subnetId",
            |text| subnet_id(text).is_ok(),
            &[
                "subnet-01234567",
                "subnet-0123456789abcdef0",
                "subnet_01234567",
                "01234567",
            ],
        );
        agrees(
            "instanceProfile",
            |text| instance_profile(text).is_ok(),
            &["trainer", "a+b=c,d.e@f_g-h", "", "a/b", "arn:aws:iam::1:x"],
        );
        agrees(
            "ttl",
            |text| duration(text).is_ok(),
            &[
                "30m",
                "1d12h",
                "0s",
                "2 hours",
                "1.5h",
                "1w",
                "1d1d1d1d1d",
                "1234567s",
                "5",
            ],
        );
        agrees(
            "securityGroupIds/items",
            |text| security_group_id(text).is_ok(),
            &["sg-01234567", "sg-0123456789abcdef0", "sg-", "default"],
        );
    }

    #[test]
    fn a_wrong_duration_is_answered_with_the_right_one() {
        for (wrong, right) in [
            ("2 hours", "2h"),
            ("1.5h", "1h30m"),
            ("1w", "7d"),
            ("1H", "1h"),
            ("2h 30m", "2h30m"),
            ("1 day, 12 hours", "1d12h"),
        ] {
            let error = duration(wrong).unwrap_err();
            assert!(
                error.ends_with(&format!("did you mean {right}?")),
                "{error}"
            );
        }
        for hopeless in ["", "soon", "h", "5", "-1h", "0.0001s", "9e99 weeks"] {
            assert!(
                !duration(hopeless).unwrap_err().contains("did you mean"),
                "{hopeless}"
            );
        }
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn a_wrong_instance_type_is_answered_with_the_right_one() {
        for (wrong, right) in [
            ("T3.Micro", "t3.micro"),
            ("t3micro", "t3.micro"),
            ("m7ilarge", "m7i.large"),
            ("g52xlarge", "g5.2xlarge"),
            ("g5xlarge", "g5.xlarge"),
            ("g5 xlarge", "g5.xlarge"),
        ] {
            assert!(
                instance_type(wrong)
                    .unwrap_err()
                    .contains(&format!("{right}?")),
                "{wrong}"
            );
        }
        assert!(
            instance_type("gpu")
                .unwrap_err()
                .contains("such as m7i.large")
        );
    }

    #[test]
    fn an_availability_zone_is_answered_with_its_region() {
        assert!(
            region("us-east-1a")
                .unwrap_err()
                .ends_with("its region is us-east-1")
        );
    }

    #[test]
    fn tags_that_ec2_or_spore_keep_for_themselves_are_refused() {
        assert_eq!(tag("team=a=b"), Ok(("team".into(), "a=b".into())));
        assert_eq!(tag("empty="), Ok(("empty".into(), String::new())));
        for wrong in [
            "team",
            "=x",
            "spawn:ttl=1h",
            "AWS:x=y",
            "a b=c",
            "a/b=c",
            "_index=1",
        ] {
            assert!(tag(wrong).is_err(), "{wrong}");
        }
        assert!(tag(&format!("k={}", "v".repeat(257))).is_err());
    }

    #[test]
    fn variables_that_spore_sets_and_names_that_no_shell_takes_are_refused() {
        assert_eq!(env("A_1=x=y"), Ok(("A_1".into(), "x=y".into())));
        for wrong in ["A", "=x", "1A=x", "A-B=x", "PARAM_x=1", "JOB_ARRAY_INDEX=1"] {
            assert!(env(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_one() {
        assert!(name("train-1.a").is_ok());
        assert!(
            name("My_Run")
                .unwrap_err()
                .ends_with("did you mean my-run?")
        );
        for wrong in ["", "-a", "a-", "a..b"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
