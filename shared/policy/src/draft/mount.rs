//! Mounts and devices.

use super::node::Node;
use super::problem::quoted;
use super::reader::{Got, Reader};
use super::scalar::{path, path_fault};
use crate::model::{Access, Device, Mount, MountSource, Propagation, Stated};

/// Reads one mount.
pub(super) fn mount(reader: &mut Reader<'_>, node: &Node) -> Got<Mount> {
    let mut fields = reader.open(node)?;
    let target = fields.required(reader, "target", "/data", below_root);
    let source = fields.required(reader, "source", "volume:NAME", source);
    let access = fields.stated(reader, "access", |reader, node| {
        reader.word(node, Access::ALL, Access::word)
    });
    let options = fields.optional(reader, "options", |reader, node| {
        reader.set(node, |reader, node| {
            reader
                .word(node, &["nodev", "noexec", "nosuid"], |word| word)
                .map(str::to_owned)
        })
    });
    let propagation = fields.stated(reader, "propagation", |reader, node| {
        reader.word(node, Propagation::ALL, Propagation::word)
    });
    fields.close(reader)?;
    let (source, propagation) = (source?, propagation?);
    if source == MountSource::Tmpfs && propagation != Stated::Absent {
        let said = "states a propagation for a tmpfs, which the host never sees";
        return Err(reader.report(node.place, said, "remove `propagation`"));
    }
    Ok(Mount {
        target: target?,
        source,
        access: access?,
        options: options?.unwrap_or_default(),
        propagation,
    })
}

fn below_root(reader: &mut Reader<'_>, node: &Node) -> Got<String> {
    let target = path(reader, node)?;
    if target == "/" {
        return Err(reader.report(node.place, "is the root file system", "see `rootfs` for that"));
    }
    Ok(target)
}

fn source(reader: &mut Reader<'_>, node: &Node) -> Got<MountSource> {
    let text = reader.text(node)?;
    match text {
        "volume" => return Ok(MountSource::AnonymousVolume),
        "tmpfs" => return Ok(MountSource::Tmpfs),
        _ => {}
    }
    let fault = if let Some(name) = text.strip_prefix("volume:") {
        if is_volume_name(name) {
            return Ok(MountSource::Volume(name.to_owned()));
        }
        "is not the name of a volume (letters, digits, `_`, `.`, `-`; a letter or digit first)"
    } else if let Some(host) = text.strip_prefix("bind:") {
        match path_fault(host) {
            None => return Ok(MountSource::Bind(host.to_owned())),
            Some(fault) => fault,
        }
    } else {
        "says not what it is"
    };
    Err(reader.report(
        node.place,
        format!("the source {} {fault}", quoted(text)),
        "write volume:NAME, volume (an anonymous one), bind:/HOST/PATH or tmpfs",
    ))
}

fn is_volume_name(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Reads one device.
pub(super) fn device(reader: &mut Reader<'_>, node: &Node) -> Got<Device> {
    let mut fields = reader.open(node)?;
    let path = fields.required(reader, "path", "/dev/fuse", below_root);
    let access = fields.required(reader, "access", "rw", |reader, node| {
        let text = reader.text(node)?;
        let kept: String = ['r', 'w', 'm']
            .into_iter()
            .filter(|c| text.contains(*c))
            .collect();
        if kept.is_empty() || kept.len() != text.len() {
            return Err(reader.report(
                node.place,
                format!("{} is no device access", quoted(text)),
                "write some of r (read), w (write), m (make the node), as in rw",
            ));
        }
        Ok(kept)
    });
    fields.close(reader)?;
    Ok(Device {
        path: path?,
        access: access?,
    })
}
