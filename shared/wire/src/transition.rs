//! Transitions of findings, from agents.

use verger_policy::digest::Digest;
use verger_policy::drift::Check;
use verger_policy::facts::InstanceId;
use verger_policy::finding::{FindingUid, Lifecycle, MAX_SAMPLES, Sample, SubjectClass, Transition};
use verger_proto::findings::v1 as pb;

use crate::finding::{lifecycle_number, lifecycle_of_number};
use crate::{
    FromWire, IntoWire, InvalidMessage, digest, digest_bytes, digest_text, instant, parse, required,
    timestamp,
};

/// The longest name of an instance that is taken in, bytes.
const NAME_BYTES: usize = 1 << 10;

impl FromWire<pb::Subject> for SubjectClass {
    fn from_wire(message: pb::Subject) -> Result<Self, InvalidMessage> {
        use pb::subject::Class;
        let pb::Subject { class } = message;
        Ok(match required("class", class)? {
            Class::Workload(name) => Self::Workload(parse("workload", &name)?),
            Class::Unknown(image) => Self::Unknown(digest_text("unknown", &image)?),
            Class::Host(_) => Self::Host,
        })
    }
}

impl IntoWire<pb::Subject> for &SubjectClass {
    fn into_wire(self) -> pb::Subject {
        use pb::subject::Class;
        let class = match self {
            SubjectClass::Workload(name) => Class::Workload(name.to_string()),
            SubjectClass::Unknown(image) => Class::Unknown(image_text(image.as_ref())),
            SubjectClass::Host => Class::Host(true),
        };
        pb::Subject { class: Some(class) }
    }
}

pub(crate) fn image_text(image: Option<&Digest>) -> String {
    image.map(ToString::to_string).unwrap_or_default()
}

impl FromWire<pb::Sample> for Sample {
    fn from_wire(message: pb::Sample) -> Result<Self, InvalidMessage> {
        let pb::Sample { runtime, id, name } = message;
        if name.len() > NAME_BYTES || id.len() > NAME_BYTES {
            return Err(InvalidMessage::new(
                "name",
                format!("is longer than {NAME_BYTES} bytes"),
            ));
        }
        Ok(Self {
            instance: InstanceId {
                runtime: parse("runtime", &runtime)?,
                id,
            },
            name,
        })
    }
}

impl IntoWire<pb::Sample> for &Sample {
    fn into_wire(self) -> pb::Sample {
        let Sample {
            instance: InstanceId { runtime, id },
            name,
        } = self;
        let end = name.floor_char_boundary(NAME_BYTES);
        pb::Sample {
            runtime: runtime.to_string(),
            id: id.clone(),
            name: name[..end].to_owned(),
        }
    }
}

impl FromWire<pb::Transition> for Transition {
    fn from_wire(message: pb::Transition) -> Result<Self, InvalidMessage> {
        let pb::Transition {
            at,
            uid,
            subject,
            image,
            check,
            lifecycle,
            wanted,
            effective,
            epoch,
            affected,
            samples,
            evaluated,
            occurrences,
            first_seen,
            reopened,
        } = message;
        if samples.len() > MAX_SAMPLES {
            return Err(InvalidMessage::new(
                "samples",
                format!("are more than {MAX_SAMPLES}"),
            ));
        }
        let lifecycle = lifecycle_of_number(lifecycle)
            .filter(|lifecycle| *lifecycle != Lifecycle::Acknowledged)
            .ok_or_else(|| InvalidMessage::new("lifecycle", "is none that an agent can report"))?;
        Ok(Self {
            at: instant("at", required("at", at)?)?,
            uid: FindingUid(digest("uid", &uid)?),
            subject: SubjectClass::from_wire(required("subject", subject)?)
                .map_err(|error| error.within("subject"))?,
            image: digest_text("image", &image)?,
            check: Check::from_wire(required("check", check)?).map_err(|error| error.within("check"))?,
            lifecycle,
            wanted: parse("wanted", &wanted)?,
            effective: parse("effective", &effective)?,
            epoch,
            affected,
            samples: samples
                .into_iter()
                .map(|sample| Sample::from_wire(sample).map_err(|error| error.within("samples")))
                .collect::<Result<_, _>>()?,
            evaluated,
            occurrences,
            first_seen: instant("first_seen", required("first_seen", first_seen)?)?,
            reopened,
        })
    }
}

impl IntoWire<pb::Transition> for &Transition {
    fn into_wire(self) -> pb::Transition {
        let Transition {
            at,
            uid,
            subject,
            image,
            check,
            lifecycle,
            wanted,
            effective,
            epoch,
            affected,
            samples,
            evaluated,
            occurrences,
            first_seen,
            reopened,
        } = self;
        pb::Transition {
            at: Some(timestamp(*at)),
            uid: digest_bytes(&uid.0),
            subject: Some(subject.into_wire()),
            image: image_text(image.as_ref()),
            check: Some(check.into_wire()),
            lifecycle: lifecycle_number(*lifecycle),
            wanted: wanted.to_string(),
            effective: effective.to_string(),
            epoch: *epoch,
            affected: *affected,
            samples: samples.iter().map(IntoWire::into_wire).collect(),
            evaluated: *evaluated,
            occurrences: *occurrences,
            first_seen: Some(timestamp(*first_seen)),
            reopened: *reopened,
        }
    }
}
