/*
 * The entry of a PVH domain: from 32-bit protected mode without paging to Rust in long mode with
 * writable and executable apart.
 *
 * On entry (Xen: docs/misc/pvh.pandoc)
 *   ebx    physical address of hvm_start_info
 *   cr0    PE set, paging off; cr4 is 0
 *   cs     flat 4 GiB, execute/read;  ds, es, ss  flat 4 GiB, read/write
 *   eflags VM, IF and TF clear; DF unspecified
 *   no stack, no GDT, no IDT; memory after the image's file bytes was zeroed by the loader
 *
 * Duties
 *   1. Read the time stamp counter before all else: it is "the domain's first instruction".
 *   2. Refuse a start_info without its magic, and a CPU without long mode or no-execute.
 *   3. Build boot tables: the first 4 GiB one to one, read/write and no-execute, but
 *      the image: text read/execute, rodata read. Nothing is writable and executable.
 *   4. Enter long mode, make the canary, call boot_main.
 *
 * At the call of boot_main
 *   rdi    physical address of hvm_start_info (magic checked)
 *   rsi    time stamp counter at the first instruction
 *   cr0    PE MP ET NE WP PG;  cr4  PAE OSFXSR OSXMMEXCPT;  efer  LME LMA NXE
 *   fs     base at boot_thread_block, whose word at 0x28 is the canary (low byte zero)
 *   rsp    top of the main stack; rbp 0; interrupts off; SSE usable
 */

CR0_PE          = 1 << 0
CR0_MP          = 1 << 1
CR0_ET          = 1 << 4
CR0_NE          = 1 << 5
CR0_WP          = 1 << 16
CR0_PG          = 1 << 31
CR4_PAE         = 1 << 5
CR4_OSFXSR      = 1 << 9
CR4_OSXMMEXCPT  = 1 << 10
MSR_EFER        = 0xc0000080
EFER_LME_NXE    = (1 << 8) | (1 << 11)
MSR_FS_BASE     = 0xc0000100

PTE_PRESENT     = 1 << 0
PTE_WRITE       = 1 << 1
PTE_LARGE       = 1 << 7
PTE_NX_HIGH     = 1 << 31           /* bit 63, in the upper half of an entry */

START_INFO_MAGIC = 0x336ec578
START_INFO_WORDS = 5                /* 40 bytes: what also version 0 has */

CODE64          = 0x08
DATA            = 0x10

        .section .text.boot, "ax", @progbits
        .code32
        .globl  boot_start
boot_start:
        cli
        cld
        rdtsc
        movl    %eax, boot_first_tsc
        movl    %edx, boot_first_tsc + 4
        movl    $__main_stack_end, %esp

        movl    $boot_text_magic, %esi
        cmpl    $START_INFO_MAGIC, (%ebx)
        jne     boot_refuse
        movl    %ebx, %ebp          /* cpuid needs ebx */

        movl    $boot_text_cpu, %esi
        movl    $0x80000000, %eax
        cpuid
        cmpl    $0x80000001, %eax
        jb      boot_refuse
        movl    $0x80000001, %eax
        cpuid
        andl    $(1 << 29) | (1 << 20), %edx    /* long mode, no-execute */
        cmpl    $(1 << 29) | (1 << 20), %edx
        jne     boot_refuse

        call    boot_map_low_memory
        call    boot_map_image

        movl    $CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT, %eax
        movl    %eax, %cr4
        movl    $__boot_pml4, %eax
        movl    %eax, %cr3
        movl    $MSR_EFER, %ecx
        rdmsr
        orl     $EFER_LME_NXE, %eax
        wrmsr
        movl    $CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG, %eax
        movl    %eax, %cr0
        lgdt    boot_gdt_pointer
        ljmp    $CODE64, $boot_long_mode

/* PML4, PDPT, four page directories of 2 MiB pages: 4 GiB one to one. Clobbers eax, ecx, edi. */
boot_map_low_memory:
        movl    $__boot_pdpt + PTE_PRESENT + PTE_WRITE, __boot_pml4
        movl    $__boot_pd + PTE_PRESENT + PTE_WRITE, %eax
        movl    $__boot_pdpt, %edi
1:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $4096, %eax
        cmpl    $__boot_pdpt + 32, %edi
        jne     1b
        movl    $PTE_PRESENT | PTE_WRITE | PTE_LARGE, %eax
        movl    $__boot_pd, %edi
2:      movl    %eax, (%edi)
        movl    $PTE_NX_HIGH, 4(%edi)
        addl    $8, %edi
        addl    $0x200000, %eax
        cmpl    $__boot_pd + 4 * 4096, %edi
        jne     2b
        ret

/*
 * Replaces the large pages that hold the image by tables of small ones, with the rights of each
 * part. Everything else in them stays read/write: page zero too, where QEMU puts its memory map.
 * Clobbers eax, ecx, edx, esi, edi.
 */
boot_map_image:
        movl    $__text, %eax
        andl    $~0x1fffff, %eax            /* first address of the first table */
        movl    %eax, %ecx
        shrl    $21, %ecx
        movl    $__boot_pt, %edi
1:      leal    PTE_PRESENT + PTE_WRITE(%edi), %edx
        movl    %edx, __boot_pd(,%ecx,8)
        movl    $0, __boot_pd + 4(,%ecx,8)
        movl    $512, %esi
2:      movl    $PTE_NX_HIGH, 4(%edi)
        leal    PTE_PRESENT + PTE_WRITE(%eax), %edx
        cmpl    $__text, %eax
        jb      4f
        cmpl    $__rodata_end, %eax
        jae     4f
        leal    PTE_PRESENT(%eax), %edx     /* text and rodata: not writable */
        cmpl    $__text_end, %eax
        jae     4f
        movl    $0, 4(%edi)                 /* text: executable */
4:      movl    %edx, (%edi)
        addl    $8, %edi
        addl    $4096, %eax
        decl    %esi
        jnz     2b
        incl    %ecx
        cmpl    $__image_end, %eax
        jb      1b
        ret

/*
 * Says why (esi: text) on the debug port and on the first serial port, and ends the domain as
 * crashed. Without Xen the CPU is stopped.
 */
boot_refuse:
        movl    %esi, %edi
1:      movb    (%edi), %al
        testb   %al, %al
        jz      4f
        outb    %al, $0xe9
        movb    %al, %ah
        movw    $0x3fd, %dx
        movl    $100000, %ecx
2:      inb     %dx, %al
        testb   $0x20, %al                  /* transmitter empty */
        jnz     3f
        decl    %ecx
        jnz     2b
3:      movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        incl    %edi
        jmp     1b
4:      movl    $0x40000000, %eax
        cpuid
        cmpl    $0x566e6558, %ebx           /* "XenV" */
        jne     6f
        xorl    %eax, %eax
        cpuid
        cmpl    $0x68747541, %ebx           /* "Auth"enticAMD, "Hygo"nGenuine */
        sete    %al
        cmpl    $0x6f677948, %ebx
        sete    %ah
        orb     %ah, %al
        movl    $29, %eax                   /* sched_op */
        movl    $2, %ebx                    /* SCHEDOP_shutdown */
        movl    $boot_reason_crash, %ecx
        jz      5f
        vmmcall
        jmp     6f
5:      vmcall
6:      cli
        hlt
        jmp     6b

        .code64
boot_long_mode:
        movl    $DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        movl    $__main_stack_end, %esp     /* clears the upper half too */
        movl    %ebp, %ebp
        movq    %rbp, %r12                  /* start_info */

        movl    $MSR_FS_BASE, %ecx
        movl    $boot_thread_block, %eax
        xorl    %edx, %edx
        wrmsr
        call    boot_make_canary
        movb    $0, %sil                    /* a string that overflows stops at the zero byte */
        movq    %rsi, boot_thread_block + 0x28

        movq    %r12, %rdi
        movq    boot_first_tsc, %rsi
        xorl    %ebp, %ebp
        call    {boot_main}
        ud2

/*
 * A word that no one outside can know: the counter, start_info, RDRAND and RDSEED, absorbed one
 * after the other. In r12 = start_info; out rsi. Clobbers rax, rbx, rcx, rdx, r8.
 */
.macro absorb register
        xorq    \register, %rsi
        movabsq $0x9e3779b97f4a7c15, %rax
        imulq   %rax, %rsi
        movq    %rsi, %rax
        shrq    $29, %rax
        xorq    %rax, %rsi
.endm
boot_make_canary:
        movq    boot_first_tsc, %rsi
        absorb  %r12
        xorl    %r8d, %r8d
1:      movq    (%r12,%r8,8), %rcx
        absorb  %rcx
        incl    %r8d
        cmpl    $START_INFO_WORDS, %r8d
        jne     1b
        movl    $1, %eax
        cpuid
        btl     $30, %ecx                   /* RDRAND */
        jnc     3f
        movl    $10, %r8d
2:      rdrand  %rcx
        jc      4f
        decl    %r8d
        jnz     2b
        jmp     3f
4:      absorb  %rcx
3:      xorl    %eax, %eax
        cpuid
        cmpl    $7, %eax
        jb      6f
        movl    $7, %eax
        xorl    %ecx, %ecx
        cpuid
        btl     $18, %ebx                   /* RDSEED */
        jnc     6f
        movl    $10, %r8d
5:      rdseed  %rcx
        jc      7f
        decl    %r8d
        jnz     5b
        jmp     6f
7:      absorb  %rcx
6:      rdtsc
        shlq    $32, %rdx
        orq     %rax, %rdx
        movq    %rdx, %rcx
        absorb  %rcx
        ret

        .section .rodata.boot, "a", @progbits
        .balign 8
boot_gdt:
        .quad   0
        .quad   0x00af9b000000ffff          /* code, 64 bit; accessed, for the CPU cannot */
        .quad   0x00cf93000000ffff          /* data; write that bit into rodata */
boot_gdt_pointer:
        .word   . - boot_gdt - 1
        .long   boot_gdt
boot_reason_crash:
        .long   3                           /* SHUTDOWN_crash */
boot_text_magic:
        .ascii  "xenios: start_info has no PVH magic: "
        .asciz  "was this image started through its PVH entry?\n"
boot_text_cpu:
        .asciz  "xenios: this CPU has no long mode or no no-execute pages\n"

        .section .bss.boot, "aw", @nobits
        .balign 16
boot_first_tsc:
        .skip   8
        .balign 16
        .globl  boot_thread_block
boot_thread_block:
        .skip   0x40
