//! Checks the crates that Jotun uses against `deny.toml`: licences, one version of each crate, sources. `cargo deny`
//! reads that file, too, and checks advisories as well.

use std::{collections::BTreeMap, fs, process::Command};

use serde::Deserialize;
use spdx::{Expression, LicenseReq, ParseMode};

#[derive(Deserialize)]
struct Policy {
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    exceptions: Vec<LicenceException>,
}

#[derive(Deserialize)]
struct LicenceException {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

/// A version that may exist beside another one: `name@1`, of which the version is a beginning.
#[derive(Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    spec: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// None for a package of this workspace.
    source: Option<String>,
    /// The registries that it may be published to; all of them if there is no list.
    publish: Option<Vec<String>>,
}

fn policy() -> Policy {
    let text = fs::read_to_string("../deny.toml").expect("deny.toml");
    toml::from_str(&text).expect("deny.toml is as cargo-deny describes it")
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").expect("cargo runs this test");
    let output = Command::new(cargo).args(["metadata", "--format-version", "1", "--all-features"]).output();
    let output = output.expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Metadata>(&output.stdout).expect("cargo's metadata").packages
}

/// Whether a crate under this licence may be taken. `MIT/Apache-2.0` is how older crates write `OR`.
fn allowed(licence: &str, allow: &[&str]) -> bool {
    let Ok(expression) = Expression::parse_mode(licence, ParseMode::LAX) else { return false };
    let id = |requirement: &LicenseReq| requirement.license.to_string();
    expression.evaluate(|requirement| requirement.addition.is_none() && allow.contains(&&*id(requirement)))
}

impl Policy {
    fn allows(&self, package: &Package) -> bool {
        let exceptions = self.licenses.exceptions.iter().filter(|exception| exception.name == package.name);
        let allow = self.licenses.allow.iter().chain(exceptions.flat_map(|exception| &exception.allow));
        let allow: Vec<&str> = allow.map(String::as_str).collect();
        package.license.as_ref().is_some_and(|licence| allowed(licence, &allow))
    }

    fn skips(&self, package: &Package) -> bool {
        let is = |spec: &str| {
            let (name, version) = spec.split_once('@').unwrap_or((spec, ""));
            name == package.name && format!("{}.", package.version).starts_with(&format!("{version}."))
        };
        self.bans.skip.iter().any(|skip| is(&skip.spec))
    }
}

#[test]
fn licences_are_among_those_allowed() {
    let policy = policy();
    let packages = packages();
    let others = packages.iter().filter(|package| !policy.allows(package));
    let others: Vec<_> = others.map(|package| format!("{}: {:?}", package.name, package.license)).collect();
    assert!(others.is_empty(), "deny.toml allows none of {others:#?}");
    for exception in &policy.licenses.exceptions {
        assert!(packages.iter().any(|package| package.name == exception.name), "{} is not used", exception.name);
    }
}

#[test]
fn each_crate_is_there_in_one_version() {
    let (policy, packages) = (policy(), packages());
    for Skip { spec } in &policy.bans.skip {
        let name = spec.split('@').next();
        let versions = packages.iter().filter(|package| Some(&*package.name) == name).count();
        assert!(versions > 1, "{spec} is not needed");
    }
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in packages.into_iter().filter(|package| !policy.skips(package)) {
        versions.entry(package.name).or_default().push(package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    assert!(versions.is_empty(), "more than one version, and not among `skip` in deny.toml: {versions:#?}");
}

/// `cargo deny check` allows dependencies by path alone only in packages that are not published.
#[test]
fn no_package_of_the_workspace_is_published() {
    let own = packages().into_iter().filter(|package| package.source.is_none());
    let published: Vec<_> = own.filter(|package| package.publish != Some(Vec::new())).map(|it| it.name).collect();
    assert!(published.is_empty(), "without `publish.workspace = true`: {published:?}");
}

#[test]
fn crates_come_from_the_registry_of_rust() {
    for Package { name, source, .. } in packages() {
        let registry = source.as_ref().is_none_or(|source| source.ends_with("/rust-lang/crates.io-index"));
        assert!(registry, "{name} comes from {source:?}");
    }
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let allow = ["MIT", "Zlib"];
    for (licence, may) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 OR Zlib", true),
        ("MIT AND Apache-2.0", false),
        ("(MIT OR Apache-2.0) AND Zlib", true),
        ("GPL-2.0-only", false),
        ("MIT WITH LLVM-exception", false),
        ("of our own", false),
    ] {
        assert_eq!(allowed(licence, &allow), may, "{licence}");
    }
}
