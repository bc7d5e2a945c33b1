//! Kinds of devices, as the control log and as the local API call them.

use rhizome_api::device::DeviceKind as ApiKind;
use rhizome_identity::DeviceKind;

/// The control log's word.
pub fn from_api(kind: ApiKind) -> DeviceKind {
    match kind {
        ApiKind::Desktop => DeviceKind::Desktop,
        ApiKind::Laptop => DeviceKind::Laptop,
        ApiKind::Phone => DeviceKind::Phone,
        ApiKind::Browser => DeviceKind::Browser,
        ApiKind::HomeServer => DeviceKind::HomeServer,
        ApiKind::CloudPeer => DeviceKind::CloudPeer,
    }
}

/// The local API's word.
pub fn to_api(kind: DeviceKind) -> ApiKind {
    match kind {
        DeviceKind::Desktop => ApiKind::Desktop,
        DeviceKind::Laptop => ApiKind::Laptop,
        DeviceKind::Phone => ApiKind::Phone,
        DeviceKind::Browser => ApiKind::Browser,
        DeviceKind::HomeServer => ApiKind::HomeServer,
        DeviceKind::CloudPeer => ApiKind::CloudPeer,
    }
}
