/* uint64_t stillpoint_capture_context(SavedContext* context)
 *
 * Stores the registers that a function preserves, and where this call returns to, and returns 0. The thread of a restored
 * process starts at that return address with rax = 1: the call returns a second time. The caller's frame must
 * still be there then, as with setjmp. Layout: helper/protocol/context.h (checked in capture.h). */
        .text
        .globl  stillpoint_capture_context
        .hidden stillpoint_capture_context
        .type   stillpoint_capture_context, @function
        .p2align 4
stillpoint_capture_context:
        .cfi_startproc
        endbr64
        movabsq $0x5854434b54504c53, %rax       /* kSavedContextMagic */
        movq    %rax, 0(%rdi)
        movq    %rbx, 8(%rdi)
        movq    %rbp, 16(%rdi)
        movq    %r12, 24(%rdi)
        movq    %r13, 32(%rdi)
        movq    %r14, 40(%rdi)
        movq    %r15, 48(%rdi)
        leaq    8(%rsp), %rdx                   /* the stack pointer after the return */
        movq    %rdx, 56(%rdi)
        movq    (%rsp), %rdx
        movq    %rdx, 64(%rdi)
        xorl    %eax, %eax
        ret
        .cfi_endproc
        .size   stillpoint_capture_context, .-stillpoint_capture_context

        .section .note.GNU-stack,"",@progbits
