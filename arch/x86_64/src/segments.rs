//! Descriptor tables: GDT, TSS with its interrupt stacks, IDT.
//!
//! Every IDT entry runs on a stack of the interrupt stack table: the prebuilt core uses the red zone
//! in places, and a fault may well be that of a stack.

#[cfg(xenios_kernel)]
pub use kernel::install;

#[cfg(xenios_kernel)]
mod kernel {
    use crate::addr::VirtAddr;
    use crate::layout::{IstStack, ist_stack};
    use crate::trap;
    use spin::Once;
    use x86_64::PrivilegeLevel;
    use x86_64::instructions::tables::load_tss;
    use x86_64::registers::segmentation::{CS, DS, ES, SS, Segment};
    use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
    use x86_64::structures::idt::{Entry, InterruptDescriptorTable};
    use x86_64::structures::tss::TaskStateSegment;

    static TSS: Once<TaskStateSegment> = Once::new();
    static GDT: Once<GlobalDescriptorTable> = Once::new();
    static IDT: Once<InterruptDescriptorTable> = Once::new();

    /// Loads the final GDT, TSS and IDT. From here on a fault is reported.
    ///
    /// # Safety
    /// Called once, on the main stack, interrupts off; the stacks of `layout` are mapped.
    pub unsafe fn install() {
        let tss = TSS.call_once(task_state);
        let gdt = GDT.call_once(|| {
            let mut gdt = GlobalDescriptorTable::new();
            gdt.append(Descriptor::kernel_code_segment());
            gdt.append(Descriptor::kernel_data_segment());
            gdt.append(Descriptor::tss_segment(tss));
            gdt
        });
        let idt = IDT.call_once(interrupt_table);
        gdt.load();
        // SAFETY: the selectors are those of the three descriptors just made, in that order.
        unsafe {
            CS::set_reg(CODE);
            let data = SegmentSelector::new(2, PrivilegeLevel::Ring0);
            DS::set_reg(data);
            ES::set_reg(data);
            SS::set_reg(data);
            load_tss(SegmentSelector::new(3, PrivilegeLevel::Ring0));
        }
        idt.load();
    }

    const CODE: SegmentSelector = SegmentSelector::new(1, PrivilegeLevel::Ring0);

    fn task_state() -> TaskStateSegment {
        use IstStack::{DoubleFault, Fault, MachineCheck, Nmi, PageFault};
        let mut tss = TaskStateSegment::new();
        for stack in [DoubleFault, Nmi, MachineCheck, PageFault, Fault] {
            tss.interrupt_stack_table[stack as usize - 1] = VirtAddr::new(ist_stack(stack).end());
        }
        tss
    }

    /// Points one entry at the stub of `vector`.
    fn set<F>(entry: &mut Entry<F>, vector: u8, stack: IstStack) {
        // SAFETY: the stub exists for this vector and never returns; its stack index is one that
        // `task_state` fills.
        unsafe {
            entry.set_handler_addr(trap::stub(vector)).set_stack_index(stack as u16 - 1);
        }
    }

    fn interrupt_table() -> InterruptDescriptorTable {
        use IstStack::Fault;
        let mut idt = InterruptDescriptorTable::new();
        set(&mut idt.divide_error, 0, Fault);
        set(&mut idt.debug, 1, Fault);
        set(&mut idt.non_maskable_interrupt, 2, IstStack::Nmi);
        set(&mut idt.breakpoint, 3, Fault);
        set(&mut idt.overflow, 4, Fault);
        set(&mut idt.bound_range_exceeded, 5, Fault);
        set(&mut idt.invalid_opcode, 6, Fault);
        set(&mut idt.device_not_available, 7, Fault);
        set(&mut idt.double_fault, 8, IstStack::DoubleFault);
        set(&mut idt.invalid_tss, 10, Fault);
        set(&mut idt.segment_not_present, 11, Fault);
        set(&mut idt.stack_segment_fault, 12, Fault);
        set(&mut idt.general_protection_fault, 13, Fault);
        set(&mut idt.page_fault, 14, IstStack::PageFault);
        set(&mut idt.x87_floating_point, 16, Fault);
        set(&mut idt.alignment_check, 17, Fault);
        set(&mut idt.machine_check, 18, IstStack::MachineCheck);
        set(&mut idt.simd_floating_point, 19, Fault);
        set(&mut idt.virtualization, 20, Fault);
        set(&mut idt[trap::STACK_SMASH_VECTOR], trap::STACK_SMASH_VECTOR, Fault);
        idt
    }
}
