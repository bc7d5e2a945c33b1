//! The list of all methods. What they carry stands in the module of their noun.

use crate::method::{Empty, Method, NoEvent, Visitor};
use crate::{cluster, data, device, identity, import, log, peer, pod, recovery, snapshot, status};

/// Declares marker types, binds their shapes, and collects them for [`visit_methods`].
macro_rules! methods {
    ($($(#[doc = $purpose:literal])+ $marker:ident = $name:literal:
        $request:ty => $answer:ty $(, $event:ty)?;)*) => {
        $(
            $(#[doc = $purpose])+
            #[derive(Clone, Copy, Debug)]
            pub struct $marker;

            impl Method for $marker {
                const NAME: &'static str = $name;
                const PURPOSE: &'static str = concat!($($purpose),+);
                const STREAMS: bool = methods!(@streams $($event)?);
                const TYPES: (&'static str, &'static str, &'static str) =
                    (stringify!($request), stringify!($answer), stringify!($($event)?));
                type Request = $request;
                type Answer = $answer;
                type Event = methods!(@event $($event)?);
            }
        )*

        /// Shows every method to `visitor`, in the order of the documentation.
        pub fn visit_methods(visitor: &mut impl Visitor) {
            $(visitor.visit::<$marker>();)*
        }

        /// The names of all methods, in the order of the documentation.
        pub const METHOD_NAMES: &[&str] = &[$($name),*];
    };
    (@streams) => { false };
    (@streams $event:ty) => { true };
    (@event) => { NoEvent };
    (@event $event:ty) => { $event };
}

methods! {
    /// Answers: is my data safe, where is it, who is waiting for whom since when.
    Status = "status": Empty => status::StatusAnswer;
    /// Rebuilds or checks what can be rebuilt, and says what is wrong.
    Doctor = "doctor": status::DoctorRequest => status::DoctorAnswer;
    /// Says that the pod is there, and which version of it.
    PodPing = "pod.ping": Empty => pod::PingAnswer;
    /// Closes the pod: stops intake, drains, flushes, then ends the process.
    PodStop = "pod.stop": Empty => Empty;
    /// Makes an invitation with which another pod adds this one as its cloud peer.
    PodInvite = "pod.invite": Empty => pod::InviteAnswer;

    /// Creates an identity with this device as its first.
    IdentityCreate = "identity.create": identity::CreateRequest => identity::CreateAnswer;
    /// Lists the identities of this installation.
    IdentityList = "identity.list": Empty => identity::ListAnswer;
    /// Chooses the identity that every other method speaks about.
    IdentityUse = "identity.use": identity::UseRequest => identity::UseAnswer;

    /// Lists the devices of the identity.
    DeviceList = "device.list": Empty => device::ListAnswer;
    /// Shows a code for a new device and waits for it; single use, two minutes.
    DeviceLink = "device.link": device::LinkRequest => device::LinkAnswer, device::LinkEvent;
    /// Types the digits that the new device shows; one wrong guess burns the code.
    DeviceLinkConfirm = "device.link.confirm": device::LinkConfirmRequest => Empty;
    /// Burns the code that is being shown.
    DeviceLinkCancel = "device.link.cancel": Empty => Empty;
    /// Joins the identity of the device that shows a code, and adopts what is here already.
    DeviceJoin = "device.join": device::JoinRequest => device::JoinAnswer, device::JoinEvent;
    /// Gives a device another name.
    DeviceRename = "device.rename": device::RenameRequest => device::RenameAnswer;
    /// Counts a device as away for long, so that nobody waits for it, or as back.
    DeviceAway = "device.away": device::AwayRequest => device::AwayAnswer;
    /// Removes a device and rotates the keys, or says what that would do.
    DeviceLost = "device.lost": device::LostRequest => device::LostAnswer;

    /// Goes on without the devices that order, when they are lost for good, or says what that does.
    ClusterReform = "cluster.reform": cluster::ReformRequest => cluster::ReformAnswer;

    /// Adds a cloud peer, which will hold an encrypted copy.
    PeerAdd = "peer.add": peer::AddRequest => peer::AddAnswer;
    /// Lists the cloud peers and other known addresses.
    PeerList = "peer.list": Empty => peer::ListAnswer;
    /// Tries to reach a peer, and says at which step it ends.
    PeerTest = "peer.test": peer::TestRequest => peer::TestAnswer;

    /// Lists collections, or the documents of one.
    DataLs = "data.ls": data::LsRequest => data::LsAnswer;
    /// Reads one document.
    DataGet = "data.get": data::GetRequest => data::GetAnswer;
    /// Writes one document whole, or merges into it.
    DataSet = "data.set": data::SetRequest => data::WriteAnswer;
    /// Changes fields of a document that exists.
    DataUpdate = "data.update": data::UpdateRequest => data::WriteAnswer;
    /// Deletes one document.
    DataDelete = "data.delete": data::DeleteRequest => data::WriteAnswer;
    /// Applies several writes as one event, whole or not at all.
    DataBatch = "data.batch": data::BatchRequest => data::WriteAnswer;
    /// Finds documents of a collection.
    DataQuery = "data.query": data::QueryRequest => data::QueryAnswer;
    /// Counts, sums and averages documents of a collection.
    DataAggregate = "data.aggregate": data::AggregateRequest => data::AggregateAnswer;
    /// Finds documents and tells every change from then on.
    DataWatch = "data.watch": data::WatchRequest => Empty, data::WatchEvent;
    /// Says who changed a document, when, and on which device.
    DataHistory = "data.history": data::HistoryRequest => data::HistoryAnswer;
    /// Streams documents in canonical order, closed by their count and hash.
    DataExport = "data.export": data::ExportRequest => data::ExportAnswer, data::ExportEvent;
    /// Waits until everything written here has travelled as far as asked.
    DataSettle = "data.settle": data::SettleRequest => data::SettleAnswer;
    /// Hashes what this device holds, to compare it with another.
    DataHash = "data.hash": Empty => data::HashAnswer;

    /// Streams the newest events, and those that follow.
    LogTail = "log.tail": log::TailRequest => Empty, log::TailEvent;
    /// Reads every segment again and checks every hash and signature.
    LogVerify = "log.verify": Empty => log::VerifyAnswer;

    /// Cuts a checkpoint and hands it to the pin targets.
    SnapshotCreate = "snapshot.create": Empty => snapshot::CreateAnswer;
    /// Lists the checkpoints that are known.
    SnapshotList = "snapshot.list": Empty => snapshot::ListAnswer;
    /// Derives a checkpoint again and compares; asks its holders for blocks.
    SnapshotVerify = "snapshot.verify": snapshot::VerifyRequest => snapshot::VerifyAnswer;
    /// Writes a checkpoint as a CAR file, encrypted as it is.
    SnapshotExport = "snapshot.export": snapshot::ExportRequest => snapshot::ExportAnswer;

    /// Shows the recovery kit while its seed is still here.
    RecoveryKit = "recovery.kit": Empty => recovery::KitAnswer;
    /// Confirms that the kit was written down; the seed is wiped then.
    RecoveryConfirm = "recovery.confirm": recovery::ConfirmRequest => recovery::ConfirmAnswer;
    /// Rehearses a recovery into a temporary folder.
    RecoveryTest = "recovery.test":
        recovery::TestRequest => recovery::TestAnswer, recovery::TestEvent;
    /// Brings everything back from the words and a peer's ciphertext.
    RecoveryRestore = "recovery.restore":
        recovery::RestoreRequest => recovery::RestoreAnswer, recovery::RestoreEvent;

    /// Says what an import would do, without doing it.
    ImportPlan = "import.plan": import::PlanRequest => import::PlanAnswer;
    /// Imports; a second import of the same changes nothing.
    ImportApply = "import.apply":
        import::ApplyRequest => import::ApplyAnswer, import::ApplyEvent;
    /// Takes an import back, as far as nothing was built on it.
    ImportUndo = "import.undo": import::UndoRequest => import::UndoAnswer;
    /// Lists the imports so far.
    ImportList = "import.list": Empty => import::ListAnswer;
}
