//! Descriptor tables: GDT, TSS with its interrupt stacks, IDT.
//!
//! Every IDT entry runs on a stack of the interrupt stack table: the prebuilt core uses the red
//! zone in places, and a fault may well be that of a stack.

#[cfg(xenios_kernel)]
pub use kernel::install;

#[cfg(xenios_kernel)]
mod kernel {
    use crate::addr::VirtAddr;
    use crate::layout::{IstStack, ist_stack};
    use crate::trap::{self, STACK_SMASH_VECTOR, UPCALL_VECTOR};
    use core::cell::UnsafeCell;
    use core::mem::MaybeUninit;
    use x86_64::PrivilegeLevel;
    use x86_64::instructions::tables::{lgdt, lidt, load_tss};
    use x86_64::registers::segmentation::{CS, DS, ES, SS, Segment};
    use x86_64::structures::DescriptorTablePointer;
    use x86_64::structures::gdt::{Descriptor, SegmentSelector};
    use x86_64::structures::idt::{Entry, HandlerFunc};
    use x86_64::structures::tss::TaskStateSegment;

    const CODE: SegmentSelector = SegmentSelector::new(1, PrivilegeLevel::Ring0);
    const DATA: SegmentSelector = SegmentSelector::new(2, PrivilegeLevel::Ring0);
    const TASK: SegmentSelector = SegmentSelector::new(3, PrivilegeLevel::Ring0);

    /// Words of the GDT.
    const SEGMENT_WORDS: usize = 5;
    /// Vectors that have an entry: up to the one that a smashed stack raises.
    const VECTORS: usize = STACK_SMASH_VECTOR as usize + 1;

    /// The tables, filled in place: the CPU reads them from then on.
    struct Tables {
        task: UnsafeCell<TaskStateSegment>,
        segments: UnsafeCell<[u64; SEGMENT_WORDS]>,
        interrupts: UnsafeCell<MaybeUninit<[Entry<HandlerFunc>; VECTORS]>>,
    }

    // SAFETY: written once, by `install`, before anything else can run.
    unsafe impl Sync for Tables {}

    static TABLES: Tables = Tables {
        task: UnsafeCell::new(TaskStateSegment::new()),
        segments: UnsafeCell::new([0; SEGMENT_WORDS]),
        interrupts: UnsafeCell::new(MaybeUninit::uninit()),
    };

    /// Loads the final GDT, TSS and IDT. From here on a fault is reported.
    ///
    /// # Safety
    /// Called once, on the main stack, interrupts off; the stacks of `layout` are mapped.
    pub unsafe fn install() {
        // SAFETY: called once, so this is the only reference that writes; none is made later.
        let (task, segments, interrupts) = unsafe {
            let segments = &mut *TABLES.segments.get();
            (&mut *TABLES.task.get(), segments, &mut *TABLES.interrupts.get())
        };
        let interrupts = interrupts.write([Entry::missing(); VECTORS]);
        for stack in [
            IstStack::DoubleFault,
            IstStack::Nmi,
            IstStack::MachineCheck,
            IstStack::PageFault,
            IstStack::Fault,
        ] {
            task.interrupt_stack_table[stack as usize - 1] =
                VirtAddr::new_truncate(ist_stack(stack).end());
        }
        *segments = segment_words(task);
        let base = trap::addr_of(segments.as_ptr().cast());
        let limit = (size_of_val(segments) - 1) as u16;
        // SAFETY: the table is static, and the selectors are those of its descriptors.
        unsafe {
            lgdt(&DescriptorTablePointer { limit, base });
            CS::set_reg(CODE);
            DS::set_reg(DATA);
            ES::set_reg(DATA);
            SS::set_reg(DATA);
            load_tss(TASK);
        }
        for vector in (0..32).chain([STACK_SMASH_VECTOR]) {
            // SAFETY: the stub exists for this vector and never returns; its stack was set above.
            unsafe {
                interrupts[usize::from(vector)]
                    .set_handler_addr(trap::stub(vector))
                    .set_stack_index(stack_for(vector) as u16 - 1);
            }
        }
        // SAFETY: the stub saves what it uses and returns; its stack was set above.
        unsafe {
            interrupts[usize::from(UPCALL_VECTOR)]
                .set_handler_addr(trap::upcall_stub())
                .set_stack_index(IstStack::Fault as u16 - 1);
        }
        let limit = (size_of_val(interrupts) - 1) as u16;
        let base = trap::addr_of(interrupts.as_ptr().cast());
        // SAFETY: the table is static and its entries are valid or absent.
        unsafe { lidt(&DescriptorTablePointer { limit, base }) };
    }

    /// The GDT: nothing, code, data, and the two words of the task state.
    fn segment_words(task: &'static TaskStateSegment) -> [u64; SEGMENT_WORDS] {
        let mut words = [0; SEGMENT_WORDS];
        let descriptors = [
            Descriptor::kernel_code_segment(),
            Descriptor::kernel_data_segment(),
            Descriptor::tss_segment(task),
        ];
        for (i, descriptor) in descriptors.into_iter().enumerate() {
            match descriptor {
                Descriptor::UserSegment(word) => words[1 + i] = word,
                Descriptor::SystemSegment(low, high) => {
                    words[1 + i..][..2].copy_from_slice(&[low, high])
                }
            }
        }
        words
    }

    /// The stack that a vector's handler runs on (Intel SDM volume 3, table 6-1 names the vectors).
    fn stack_for(vector: u8) -> IstStack {
        match vector {
            2 => IstStack::Nmi,
            8 => IstStack::DoubleFault,
            14 => IstStack::PageFault,
            18 => IstStack::MachineCheck,
            _ => IstStack::Fault,
        }
    }
}
