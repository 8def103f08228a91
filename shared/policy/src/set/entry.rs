//! Entries, and the bodies behind them.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::digest::Digest;
use crate::draft::InvalidObject;
use crate::model::{Labels, ObjectKey, PolicyObject};

/// What the root of a set says of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which object.
    pub key: ObjectKey,
    /// The epoch of its last change.
    pub epoch: u64,
    /// The digest of its canonical bytes.
    pub digest: Digest,
    /// The labels that select the hosts its body is sent to. Empty: all. Bodies of kinds that hosts do not judge by
    /// are sent to none.
    pub hosts: Labels,
}

// The order of members is immaterial: RFC 8785 sorts them.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            key: ObjectKey { kind, name },
            epoch,
            digest,
            hosts,
        } = self;
        let mut shape = serializer.serialize_struct("Entry", 5)?;
        shape.serialize_field("kind", kind)?;
        shape.serialize_field("name", name)?;
        shape.serialize_field("epoch", epoch)?;
        shape.serialize_field("digest", digest)?;
        shape.serialize_field("hosts", hosts)?;
        shape.end()
    }
}

/// An object together with the canonical bytes it came as. The bytes are what is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    bytes: Vec<u8>,
    digest: Digest,
    object: PolicyObject,
}

impl Body {
    /// Encodes an object. Annotations are dropped: they are not covered by the seal and do not travel.
    ///
    /// # Errors
    /// When the object breaks a rule of the model (an object that [`crate::draft`] made never does), or is too big.
    pub fn new(object: &PolicyObject) -> Result<Self, InvalidObject> {
        Self::from_canonical(object.canonical_bytes())
    }

    /// Takes canonical bytes.
    ///
    /// # Errors
    /// When they are not the canonical bytes of an object this version knows.
    pub fn from_canonical(bytes: Vec<u8>) -> Result<Self, InvalidObject> {
        let object = PolicyObject::from_canonical(&bytes)?;
        Ok(Self {
            digest: Digest::of(&bytes),
            bytes,
            object,
        })
    }

    /// The canonical bytes, prefix included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the canonical bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The object.
    pub const fn object(&self) -> &PolicyObject {
        &self.object
    }

    /// The entry this body has when it was last changed at `epoch`.
    pub fn entry(&self, epoch: u64) -> Entry {
        Entry {
            key: self.object.key(),
            epoch,
            digest: self.digest,
            hosts: self.object.host_selector(),
        }
    }
}
