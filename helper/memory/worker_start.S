// Where the worker begins, and the two system calls that return twice: the new
// thread finds its function in a register, because its stack is empty.
#include <asm/unistd_64.h>

        .section .text.start, "ax", @progbits
        .globl  worker_start
        .type   worker_start, @function
// rdi: address of the Control page. rsp: end of a stack. Everything else is arbitrary.
worker_start:
        cld
        xorl    %ebp, %ebp
        andq    $-16, %rsp
        call    worker_main
        ud2
        .size   worker_start, . - worker_start

        .text
        .globl  worker_clone
        .hidden worker_clone
        .type   worker_clone, @function
// long worker_clone(flags, stack_top, parent_tid, child_tid, argument, function): clone(2) has its fourth argument in r10.
worker_clone:
        movq    %rcx, %r10
        movl    $__NR_clone, %eax
        syscall
        testq   %rax, %rax
        jz      .Lin_thread
        ret
.Lin_thread:
        xorl    %ebp, %ebp
        andq    $-16, %rsp
        movq    %r8, %rdi
        call    *%r9
        // The stack may be gone from here on: no more of it is touched.
        xorl    %edi, %edi
        movl    $__NR_exit, %eax
        syscall
        ud2
        .size   worker_clone, . - worker_clone

        .globl  worker_clone3
        .hidden worker_clone3
        .type   worker_clone3, @function
// long worker_clone3(clone_args, size, function, argument)
worker_clone3:
        movq    %rcx, %r8
        movq    %rdx, %r9
        movl    $__NR_clone3, %eax
        syscall
        testq   %rax, %rax
        jz      .Lin_thread
        ret
        .size   worker_clone3, . - worker_clone3

        .section .note.GNU-stack, "", @progbits
