#include "textflag.h"

// readClock is clock_gettime(2) for the Go runtime, which calls it as a C function: DI is the
// number of the clock, SI the result. It adds the offset to CLOCK_REALTIME (0) only.
TEXT ·readClock(SB), NOSPLIT|NOFRAME, $0
	PUSHQ DI
	PUSHQ SI
	SUBQ  $8, SP                 // a C function needs a stack that is aligned to 16 bytes
	MOVQ  ·systemClock(SB), AX
	CALL  AX
	ADDQ  $8, SP
	POPQ  SI
	POPQ  DI
	TESTL DI, DI
	JNE   done
	MOVQ  ·offset(SB), CX
	MOVQ  (CX), CX
	ADDQ  CX, (SI)

done:
	RET

// func replace() bool
TEXT ·replace(SB), NOSPLIT, $0-1
	MOVQ  runtime·vdsoClockgettimeSym(SB), AX
	TESTQ AX, AX
	JEQ   missing
	MOVQ  AX, ·systemClock(SB)
	LEAQ  ·readClock(SB), AX
	MOVQ  AX, runtime·vdsoClockgettimeSym(SB)
	MOVB  $1, ret+0(FP)
	RET

missing:
	MOVB $0, ret+0(FP)
	RET

GLOBL ·systemClock(SB), NOPTR, $8
