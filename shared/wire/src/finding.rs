//! Findings of the cluster.

use verger_policy::drift::Check;
use verger_policy::finding::{
    Acknowledgement, Finding, FindingUid, HostCount, Lifecycle, Sample, SubjectClass,
};
use verger_proto::findings::v1 as pb;

use crate::transition::image_text;
use crate::{
    FromWire, IntoWire, InvalidMessage, digest, digest_bytes, digest_text, instant, parse, required,
    timestamp,
};

pub(crate) fn lifecycle_number(lifecycle: Lifecycle) -> i32 {
    let lifecycle = match lifecycle {
        Lifecycle::Open => pb::Lifecycle::Open,
        Lifecycle::Acknowledged => pb::Lifecycle::Acknowledged,
        Lifecycle::Suppressed => pb::Lifecycle::Suppressed,
        Lifecycle::Resolved => pb::Lifecycle::Resolved,
    };
    lifecycle.into()
}

/// The lifecycle of an enum number; `None` for unspecified and unknown ones.
pub fn lifecycle_of_number(number: i32) -> Option<Lifecycle> {
    match pb::Lifecycle::try_from(number).ok()? {
        pb::Lifecycle::Unspecified => None,
        pb::Lifecycle::Open => Some(Lifecycle::Open),
        pb::Lifecycle::Acknowledged => Some(Lifecycle::Acknowledged),
        pb::Lifecycle::Suppressed => Some(Lifecycle::Suppressed),
        pb::Lifecycle::Resolved => Some(Lifecycle::Resolved),
    }
}

impl IntoWire<pb::Finding> for &Finding {
    fn into_wire(self) -> pb::Finding {
        let Finding {
            uid,
            revision,
            control: _,
            rule: _,
            subject,
            image,
            check,
            lifecycle,
            acknowledged,
            wanted,
            effective,
            hosts,
            samples,
            first_seen,
            changed,
            reopened,
            occurrences,
        } = self;
        pb::Finding {
            uid: digest_bytes(&uid.0),
            revision: *revision,
            subject: Some(subject.into_wire()),
            image: image_text(image.as_ref()),
            check: Some(check.into_wire()),
            lifecycle: lifecycle_number(*lifecycle),
            acknowledged: acknowledged.as_ref().map(|Acknowledgement { person, note, at }| {
                pb::Acknowledgement {
                    person: person.clone(),
                    note: note.clone(),
                    at: Some(timestamp(*at)),
                }
            }),
            wanted: wanted.to_string(),
            effective: effective.to_string(),
            hosts: hosts
                .iter()
                .map(|(agent, HostCount { affected, evaluated })| {
                    (
                        agent.to_string(),
                        pb::HostCount {
                            affected: *affected,
                            evaluated: *evaluated,
                        },
                    )
                })
                .collect(),
            samples: samples.iter().map(IntoWire::into_wire).collect(),
            first_seen: Some(timestamp(*first_seen)),
            changed: Some(timestamp(*changed)),
            reopened: *reopened,
            occurrences: *occurrences,
        }
    }
}

impl FromWire<pb::Finding> for Finding {
    fn from_wire(message: pb::Finding) -> Result<Self, InvalidMessage> {
        let pb::Finding {
            uid,
            revision,
            subject,
            image,
            check,
            lifecycle,
            acknowledged,
            wanted,
            effective,
            hosts,
            samples,
            first_seen,
            changed,
            reopened,
            occurrences,
        } = message;
        let check = Check::from_wire(required("check", check)?).map_err(|error| error.within("check"))?;
        let acknowledged = acknowledged
            .map(|pb::Acknowledgement { person, note, at }| {
                Ok(Acknowledgement {
                    person,
                    note,
                    at: instant("acknowledged.at", required("acknowledged.at", at)?)?,
                })
            })
            .transpose()?;
        Ok(Self {
            uid: FindingUid(digest("uid", &uid)?),
            revision,
            control: check.control,
            rule: check.rule.clone(),
            subject: SubjectClass::from_wire(required("subject", subject)?)
                .map_err(|error| error.within("subject"))?,
            image: digest_text("image", &image)?,
            check,
            lifecycle: lifecycle_of_number(lifecycle)
                .ok_or_else(|| InvalidMessage::new("lifecycle", "is unknown"))?,
            acknowledged,
            wanted: parse("wanted", &wanted)?,
            effective: parse("effective", &effective)?,
            hosts: hosts
                .into_iter()
                .map(|(agent, pb::HostCount { affected, evaluated })| {
                    Ok((parse("hosts", &agent)?, HostCount { affected, evaluated }))
                })
                .collect::<Result<_, InvalidMessage>>()?,
            samples: samples
                .into_iter()
                .map(|sample| Sample::from_wire(sample).map_err(|error| error.within("samples")))
                .collect::<Result<_, _>>()?,
            first_seen: instant("first_seen", required("first_seen", first_seen)?)?,
            changed: instant("changed", required("changed", changed)?)?,
            reopened,
            occurrences,
        })
    }
}
