//! `hvm_op`: a domain's parameters (Xen: hvm/hvm_op.h, hvm/params.h).

/// `hvm_op` commands.
pub mod op {
    /// Sets a parameter.
    pub const SET_PARAM: u64 = 0;
    /// Gets a parameter.
    pub const GET_PARAM: u64 = 1;
}

/// Parameters that a guest may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Param {
    /// How events reach the guest.
    CallbackIrq = 0,
    /// Guest frame of the xenstore ring.
    StorePfn = 1,
    /// Local port of the xenstore ring.
    StoreEvtchn = 2,
    /// Guest frame of the console ring.
    ConsolePfn = 17,
    /// Local port of the console ring.
    ConsoleEvtchn = 18,
}

/// Value of [`Param::CallbackIrq`] that has Xen raise `vector` on vCPU 0 while events are pending
/// (Xen: hvm/params.h, HVM_PARAM_CALLBACK_TYPE_VECTOR).
pub const fn callback_by_vector(vector: u8) -> u64 {
    2 << 56 | vector as u64
}

/// Argument of both commands (Xen: hvm/hvm_op.h, xen_hvm_param).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HvmParam {
    /// The domain, `DomId::SELF`.
    pub domid: u16,
    /// Padding.
    pub pad: u16,
    /// A [`Param`].
    pub index: u32,
    /// In or out.
    pub value: u64,
}

const _: () = assert!(size_of::<HvmParam>() == 16);
