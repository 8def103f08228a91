//! Fuzz targets: what `judge` is given, and what it prints of it.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::draft;
use verger_policy::model::Labels;

use super::*;
use crate::output::fuzz::{FORMATS, assert_shown};

const POLICY: &str = "apiVersion: verger/v1
kind: Workload
metadata: { name: web }
spec:
  match: { container: { image: app } }
  config: { images: [ \"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" ], user: { uid: 1, gid: 1 } }
---
apiVersion: verger/v1
kind: Guardrail
metadata: { name: all }
spec: { profile: restricted, unknown: report }
";
const INSPECTION: &str = r#"{"Id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","Name":"/web\u001b[2J",
    "Image":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","Path":"/app","Args":["-v","\u202e"],
    "Config":{"User":"0","Env":["A\u0007=b","LD_PRELOAD=/x"],"Image":"app:1","Labels":{"l":"m\r\n"},"WorkingDir":"/x"},
    "HostConfig":{"NetworkMode":"host","Privileged":true,"CapAdd":["NET_\u001bADMIN"],"Sysctls":{"a\u001b":"b"},
    "Devices":[{"PathOnHost":"/dev/x","PathInContainer":"/dev/\u001b","CgroupPermissions":"rwm"}],"Tmpfs":{"/t\n":""}},
    "Mounts":[{"Type":"bind","Source":"/etc/\u001b","Destination":"/data\u2028","RW":true}]}"#;
const CONFIG: &str =
    r#"{"process":{"args":["/bin/x\u001b"],"cwd":"/","user":{"uid":0,"gid":6}},"root":{},"linux":{}}"#;

fn args(folder: &std::path::Path) -> JudgeArgs {
    JudgeArgs {
        oci: Some(folder.join("config.json")),
        inspect: Some(folder.join("inspect.json")),
        image: None,
        policy: vec![PathBuf::from("unused")],
        workload: None,
        labels: Vec::new(),
        host_labels: Vec::new(),
        at: None,
    }
}

#[test]
fn hostile_containers_are_refused_or_judged_to_a_report_that_a_terminal_may_see() {
    let objects = draft::read("p.yaml", POLICY.as_bytes()).unwrap();
    let compiled = compile(&objects, &Labels::default(), 0);
    let folder = tempfile::tempdir().unwrap();
    check!()
        .with_generator((
            Damaged::json([INSPECTION]),
            Damaged::json([CONFIG]),
            bolero::produce::<bool>(),
        ))
        .with_iterations(200)
        .for_each(|(inspection, config, with_config)| {
            std::fs::write(folder.path().join("inspect.json"), &**inspection).unwrap();
            std::fs::write(folder.path().join("config.json"), &**config).unwrap();
            let mut args = args(folder.path());
            args.oci = args.oci.filter(|_| *with_config);
            let instance = match subject::instance(&args) {
                Ok(instance) => instance,
                Err(error) => return assert_shown(&error.to_string()),
            };
            let judgement = judge_recorded(&compiled, &instance, Timestamp::UNIX_EPOCH);
            let sheet = sheet(&judgement);
            for format in FORMATS {
                assert_shown(&sheet.render(format).unwrap());
            }
            for format in [Format::Json, Format::Jsonl, Format::Yaml] {
                assert_shown(&document(&to_json(&judgement), format).unwrap());
            }
            let summary = summary(&judgement);
            assert_shown(&summary);
            assert_eq!(summary.lines().count(), 1 + judgement.unneeded_exceptions.len());
            assert!(matches!(
                exit(&judgement),
                Exit::Violation | Exit::NotEvaluated | Exit::Clean
            ));
        });
}
