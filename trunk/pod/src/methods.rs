//! The methods of the local API: one line each, and one module per noun.
//!
//! A method takes its request and returns its answer or an error that says what to do; how both
//! travel is `serve`'s and `streams`'s.

mod cluster;
pub mod data;
pub mod device;
mod doctor;
mod events;
pub mod facts;
pub mod failure;
mod identity;
mod log;
mod peer;
mod pins;
mod process;
mod select;
mod status;
pub mod walk;
mod watch;

use crate::pod::Pod;
use crate::serve::{envelope, refuse, request_of};
use crate::streams;
use axum::body::Bytes;
use axum::response::Response;
use rhizome_api as api;
use rhizome_api::{ApiError, Envelope, METHOD_NAMES, Method, Problem};
use std::future::Future;

/// Binds names to functions. `plain` takes pod and request, `bare` the pod alone, `stream` also the
/// sender of events, `events` the pod and the sender.
macro_rules! table {
    ($($form:ident $marker:ident => $function:path;)*) => {
        /// Answers the method called `name`.
        pub async fn answer(pod: Pod, name: &str, body: Bytes) -> Response {
            match name {
                $(<api::$marker as Method>::NAME => {
                    table!(@$form $marker, $function, pod, body)
                })*
                name => refuse(name, &unknown(name)),
            }
        }

        /// What is answered here.
        #[cfg(test)]
        const ANSWERED: &[&str] = &[$(<api::$marker as Method>::NAME),*];
    };
    (@plain $marker:ident, $function:path, $pod:ident, $body:ident) => {
        Box::pin(call::<api::$marker, _>($pod, $body, |pod, request| async move {
            $function(&pod, request).await
        })).await
    };
    (@bare $marker:ident, $function:path, $pod:ident, $body:ident) => {
        Box::pin(call::<api::$marker, _>($pod, $body, |pod, _| async move {
            $function(&pod).await
        })).await
    };
    (@stream $marker:ident, $function:path, $pod:ident, $body:ident) => {
        match request_of::<<api::$marker as Method>::Request>(&$body) {
            Ok(request) => streams::start::<api::$marker, _>($pod.clone(), |events| async move {
                $function(&$pod, request, events).await
            }),
            Err(error) => refuse(<api::$marker as Method>::NAME, &error),
        }
    };
    (@events $marker:ident, $function:path, $pod:ident, $body:ident) => {
        match request_of::<<api::$marker as Method>::Request>(&$body) {
            Ok(_) => streams::start::<api::$marker, _>($pod.clone(), |events| async move {
                $function(&$pod, events).await
            }),
            Err(error) => refuse(<api::$marker as Method>::NAME, &error),
        }
    };
}

table! {
    bare Status => status::status;
    plain Doctor => doctor::doctor;
    bare PodPing => process::ping;
    bare PodStop => process::stop;
    bare PodInvite => process::invite;
    plain IdentityCreate => identity::create;
    bare IdentityList => identity::list;
    plain IdentityUse => identity::choose;
    bare DeviceList => device::list;
    events DeviceLink => crate::link::start_link;
    plain DeviceLinkConfirm => crate::link::confirm;
    bare DeviceLinkCancel => crate::link::cancel;
    stream DeviceJoin => crate::link::join;
    plain DeviceRename => device::rename;
    plain DeviceAway => device::away;
    plain DeviceLost => device::lost;
    plain ClusterReform => cluster::reform;
    plain PeerAdd => peer::add;
    bare PeerList => peer::list;
    plain PeerTest => peer::test;
    plain DataLs => data::ls;
    plain DataGet => data::get;
    plain DataSet => data::set;
    plain DataUpdate => data::update;
    plain DataDelete => data::delete;
    plain DataBatch => data::batch;
    plain DataQuery => data::query;
    plain DataAggregate => data::aggregate;
    stream DataWatch => watch::watch;
    plain DataHistory => data::history;
    stream DataExport => data::export;
    plain DataSettle => data::settle;
    bare DataHash => data::hash;
    stream LogTail => log::tail;
    bare LogVerify => log::verify;
    bare SnapshotCreate => crate::snapshot::create;
    bare SnapshotList => crate::snapshot::list;
    plain SnapshotVerify => crate::snapshot::verify;
    plain SnapshotExport => crate::snapshot::export;
    bare RecoveryKit => crate::recovery::kit;
    plain RecoveryConfirm => crate::recovery::confirm;
    stream RecoveryTest => crate::recovery::test;
    stream RecoveryRestore => crate::recovery::restore;
    plain ImportPlan => crate::import::plan;
    stream ImportApply => crate::import::apply;
    plain ImportUndo => crate::import::undo;
    bare ImportList => crate::import::list;
}

async fn call<M, A>(
    pod: Pod,
    body: Bytes,
    ask: impl FnOnce(Pod, M::Request) -> A + Send,
) -> Response
where
    M: Method,
    M::Request: Send,
    A: Future<Output = Result<M::Answer, ApiError>> + Send,
{
    let request = match request_of(&body) {
        Ok(request) => request,
        Err(error) => return refuse(M::NAME, &error),
    };
    drop(body);
    match ask(pod, request).await {
        Ok(answer) => envelope(&Envelope::answer::<M>(answer, Vec::new())),
        Err(error) => refuse(M::NAME, &error),
    }
}

fn unknown(name: &str) -> ApiError {
    let near = METHOD_NAMES.iter().find(|known| {
        let noun = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        noun(known) == noun(name)
    });
    let like = near.map(|near| format!("; there is `{near}`, for example")).unwrap_or_default();
    let message = format!("this pod has no method `{name}`{like}");
    ApiError::new(Problem::POD_NOT_UNDERSTOOD, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_contract_is_answered() {
        assert_eq!(ANSWERED, METHOD_NAMES);
    }

    #[test]
    fn an_unknown_method_names_one_of_its_noun() {
        assert!(unknown("data.fly").message.contains("`data.ls`"));
        assert!(!unknown("fly").message.contains("there is"));
    }
}
