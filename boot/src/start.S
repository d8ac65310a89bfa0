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
 *   4. Enter long mode with all that CR4 has to protect a kernel, make the canary, call boot_main.
 *
 * At the call of boot_main
 *   rdi    physical address of hvm_start_info (magic checked)
 *   rsi    time stamp counter at the first instruction
 *   rdx    address of boot_leaves: the leaves of CPUID that boot needs, read once, for each reading
 *          leaves for the hypervisor (layout: arch/x86_64/src/cpu.rs, Leaves)
 *   cr0    PE MP ET NE WP PG;  efer  LME LMA NXE
 *   cr4    PAE OSFXSR OSXMMEXCPT, and PGE SMEP SMAP UMIP as far as CPUID has them
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
CR4_PGE         = 1 << 7
CR4_OSFXSR      = 1 << 9
CR4_OSXMMEXCPT  = 1 << 10
CR4_UMIP        = 1 << 11
CR4_SMEP        = 1 << 20
CR4_SMAP        = 1 << 21
MSR_EFER        = 0xc0000080
EFER_LME_NXE    = (1 << 8) | (1 << 11)
MSR_FS_BASE     = 0xc0000100

PTE_PRESENT     = 1 << 0
PTE_WRITE       = 1 << 1
PTE_LARGE       = 1 << 7
PTE_NX_HIGH     = 1 << 31           /* bit 63, in the upper half of an entry */

/* Words of boot_leaves that are looked at here (Intel SDM volume 2, CPUID). */
LEAF_1_ECX      = boot_leaves + 1 * 16 + 8
LEAF_1_EDX      = boot_leaves + 1 * 16 + 12
LEAF_7_EBX      = boot_leaves + 2 * 16 + 4
LEAF_7_ECX      = boot_leaves + 2 * 16 + 8
LEAF_EXT_1_EDX  = boot_leaves + 4 * 16 + 12
LM_NX           = (1 << 29) | (1 << 20)         /* long mode, no-execute */

START_INFO_MAGIC = 0x336ec578
START_INFO_WORDS = 5                /* 40 bytes: what also version 0 has */

CODE64          = 0x08
DATA            = 0x10

/* Adds a bit of CR4 to eax if CPUID has the feature: bit `bit` of a word of boot_leaves. */
.macro protect word, bit, cr4
        testl   $1 << \bit, \word
        jz      1f
        orl     $\cr4, %eax
1:
.endm

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

        call    boot_keep_leaves
        movl    $boot_text_cpu, %esi
        movl    LEAF_EXT_1_EDX, %eax
        andl    $LM_NX, %eax
        cmpl    $LM_NX, %eax
        jne     boot_refuse

        call    boot_map_low_memory
        call    boot_map_image

        movl    $CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT, %eax
        protect LEAF_1_EDX, 13, CR4_PGE
        protect LEAF_7_EBX, 7, CR4_SMEP
        protect LEAF_7_EBX, 20, CR4_SMAP
        protect LEAF_7_ECX, 2, CR4_UMIP
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

/*
 * Keeps the leaves of CPUID that boot needs. One that the CPU does not have stays zero. Clobbers
 * eax, ebx, ecx, edx, esi, edi.
 */
boot_keep_leaves:
        pushl   %ebp
        movl    $boot_leaf_numbers, %esi
        movl    $boot_leaves, %edi
1:      lodsl
        testl   $0x7fffffff, %eax           /* the first leaf of a range is always there, */
        jz      2f
        cmpl    %ebp, %eax
        ja      4f
2:      xorl    %ecx, %ecx
        cpuid
        testl   $0x7fffffff, -4(%esi)
        jnz     3f
        movl    %eax, %ebp                  /* and its eax is the range's last one */
3:      movl    %eax, (%edi)
        movl    %ebx, 4(%edi)
        movl    %ecx, 8(%edi)
        movl    %edx, 12(%edi)
4:      addl    $16, %edi
        cmpl    $boot_leaf_numbers_end, %esi
        jne     1b
        popl    %ebp
        ret

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
        movl    $boot_leaves, %edx
        xorl    %ebp, %ebp
        call    {boot_main}
        ud2

/*
 * A word that no one outside can know: the counter, start_info, RDRAND and RDSEED, absorbed one
 * after the other. In r12 = start_info; out rsi. Clobbers rax, rcx, rdx, r8.
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
        testl   $1 << 30, LEAF_1_ECX        /* RDRAND */
        jz      3f
        movl    $10, %r8d
2:      rdrand  %rcx
        jc      4f
        decl    %r8d
        jnz     2b
        jmp     3f
4:      absorb  %rcx
3:      testl   $1 << 18, LEAF_7_EBX        /* RDSEED */
        jz      6f
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
boot_leaf_numbers:
        .long   0, 1, 7, 0x80000000, 0x80000001, 0x80000007
boot_leaf_numbers_end:
boot_text_magic:
        .ascii  "xenios: start_info has no PVH magic: "
        .asciz  "was this image started through its PVH entry?\n"
boot_text_cpu:
        .asciz  "xenios: this CPU has no long mode or no no-execute pages\n"

        .section .bss.boot, "aw", @nobits
        .balign 16
boot_first_tsc:
        .skip   8
boot_leaves:
        .skip   6 * 16
        .balign 16
        .globl  boot_thread_block
boot_thread_block:
        .skip   0x40
