/* The Anchor (helper/protocol/anchor.h) and the ELF note that leads to it. They stand in one object file, so that
 * whoever links the SDK statically and uses the anchor gets the note; R keeps it under --gc-sections. */
        .section .data.stillpoint_anchor,"aw",@progbits
        .globl  stillpoint_anchor_object
        .hidden stillpoint_anchor_object
        .type   stillpoint_anchor_object, @object
        .size   stillpoint_anchor_object, 16664
        .balign 64
stillpoint_anchor_object:
        .quad   0x524f48434e415053              /* kAnchorMagic */
        .long   1                               /* kAnchorVersion */
        .long   16664                            /* sizeof(Anchor) */
        .zero   16648

        .section .note.stillpoint,"aR",@note
        .balign 4
        .long   2f - 1f                         /* size of the name */
        .long   4f - 3f                         /* size of the descriptor */
        .long   1                               /* kAnchorNoteType */
1:      .asciz  "Stillpoint"
2:      .balign 4
3:      .quad   stillpoint_anchor_object - 3b
4:      .balign 4

        .section .note.GNU-stack,"",@progbits
