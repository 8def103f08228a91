//! What agents sign of their findings. Taken over byte for byte: what it says is read where it is verified.

use bytes::Bytes;
use verger_proto::findings::v1 as pb;
use verger_seal::SignedHead;

use crate::{FromWire, IntoWire, InvalidMessage};

/// The longest part that is taken in, bytes.
const PART_BYTES: usize = 2 << 10;

impl FromWire<pb::SignedHead> for SignedHead {
    fn from_wire(message: pb::SignedHead) -> Result<Self, InvalidMessage> {
        let pb::SignedHead {
            statement,
            key,
            signature,
        } = message;
        for (field, part) in [
            ("statement", &statement),
            ("key", &key),
            ("signature", &signature),
        ] {
            if part.len() > PART_BYTES {
                return Err(InvalidMessage::new(
                    field,
                    format!("is longer than {PART_BYTES} bytes"),
                ));
            }
        }
        Ok(Self {
            statement: statement.into(),
            key: key.into(),
            signature: signature.into(),
        })
    }
}

impl IntoWire<pb::SignedHead> for &SignedHead {
    fn into_wire(self) -> pb::SignedHead {
        let SignedHead {
            statement,
            key,
            signature,
        } = self;
        let bytes = |part: &Vec<u8>| Bytes::copy_from_slice(part);
        pb::SignedHead {
            statement: bytes(statement),
            key: bytes(key),
            signature: bytes(signature),
        }
    }
}
