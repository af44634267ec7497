// int check_registers(const void* in, long spins): loads every callee-saved
// register, xmm0-15 or ymm0-15 and the red zone with values from `in` (512 bytes),
// spins, and returns how many of them differ afterwards.
    .text
    .globl check_registers_avx, check_registers_sse, rseq_spin
    .type check_registers_avx, @function
    .type check_registers_sse, @function
    .type rseq_spin, @function

.macro CHECK_REGISTERS name, move, compare, width
\name:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    \move \n*32(%rdi), \width\n
    .endr
    mov $0x1111111111111111, %rbx
    mov $0x2222222222222222, %r8
    mov $0x3333333333333333, %r9
    mov $0x4444444444444444, %r10
    mov $0x5555555555555555, %r12
    mov $0x6666666666666666, %r13
    mov $0x7777777777777777, %r14
    mov $0x1234567812345678, %r15
    mov %rdi, %rbp
    .irp n,8,16,24,32,40,48,56,64,72,80,88,96,104,112,120,128
    movq $0x5a5a00+\n, -\n(%rsp)
    .endr
1:  dec %rsi
    jnz 1b
    xor %eax, %eax
    cmp %rdi, %rbp
    setne %cl
    movzbl %cl, %ecx
    add %ecx, %eax
    .irp pair,0
    mov $0x1111111111111111, %rdx
    cmp %rdx, %rbx
    jne 8f
    mov $0x2222222222222222, %rdx
    cmp %rdx, %r8
    jne 8f
    mov $0x3333333333333333, %rdx
    cmp %rdx, %r9
    jne 8f
    mov $0x4444444444444444, %rdx
    cmp %rdx, %r10
    jne 8f
    mov $0x5555555555555555, %rdx
    cmp %rdx, %r12
    jne 8f
    mov $0x6666666666666666, %rdx
    cmp %rdx, %r13
    jne 8f
    mov $0x7777777777777777, %rdx
    cmp %rdx, %r14
    jne 8f
    mov $0x1234567812345678, %rdx
    cmp %rdx, %r15
    jne 8f
    .endr
    jmp 9f
8:  add $100, %eax
9:
    .irp n,8,16,24,32,40,48,56,64,72,80,88,96,104,112,120,128
    cmpq $0x5a5a00+\n, -\n(%rsp)
    setne %cl
    movzbl %cl, %ecx
    add %ecx, %eax
    .endr
    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    \compare \n
    .endr
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .size \name, . - \name
.endm

// The red zone has been checked already, so that it may be used here.
.macro COMPARE_YMM n
    vmovdqu %ymm\n, -64(%rsp)
    .irp word,0,8,16,24
    mov \n*32+\word(%rdi), %rdx
    cmp %rdx, -64+\word(%rsp)
    setne %cl
    movzbl %cl, %ecx
    add %ecx, %eax
    .endr
.endm
.macro COMPARE_XMM n
    movdqu %xmm\n, -64(%rsp)
    .irp word,0,8
    mov \n*32+\word(%rdi), %rdx
    cmp %rdx, -64+\word(%rsp)
    setne %cl
    movzbl %cl, %ecx
    add %ecx, %eax
    .endr
.endm

CHECK_REGISTERS check_registers_avx, vmovdqu, COMPARE_YMM, %ymm
CHECK_REGISTERS check_registers_sse, movdqu, COMPARE_XMM, %xmm

// void rseq_spin(uint64_t* rseq_cs_field, volatile long* aborts, const int* stop): stays inside a
// restartable sequence until it is aborted, counts, and enters it again, until *stop.
rseq_spin:
2:  lea rseq_descriptor(%rip), %rax
    mov %rax, (%rdi)
rseq_start:
    jmp rseq_start
rseq_end:
    .byte 0x0f, 0xb9, 0x3d          // ud1 <signature>(%rip), %edi: RSEQ_SIG of x86
    .long 0x53053053
rseq_abort:
    movq $0, (%rdi)
    incq (%rsi)
    cmpl $0, (%rdx)
    je 2b
    ret
    .size rseq_spin, . - rseq_spin

    .section .data.rel.ro, "aw"
    .balign 32
rseq_descriptor:
    .long 0, 0
    .quad rseq_start, rseq_end - rseq_start, rseq_abort
    .section .note.GNU-stack, "", @progbits
