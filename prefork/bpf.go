package prefork

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// skfAdRandom is SKF_AD_OFF + SKF_AD_RANDOM of linux/filter.h: loading from
// there yields 32 random bits.
const skfAdRandom = 0xfffff000 + 56

// share is a socket of a SO_REUSEPORT group and how much of the new
// connections it is to get, relative to the others.
type socketWeight struct {
	index  int // in the order of listen(2) within the group
	weight int
}

// attachSteering attaches a classic BPF program (socket(7), SO_ATTACH_REUSEPORT_CBPF) to
// the group that fd is of: from now on a new connection goes to one of the
// shares, by chance and by weight. Any socket of the group will do; it needs no
// privilege, and replaces the program before at once.
func attachSteering(fd int, shares []socketWeight) error {
	program := steeringProgram(shares)
	if program == nil {
		return nil
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}))
}

// steeringProgram draws a number below the sum of all weights and returns the
// index of the share that it falls into:
//
//	A = random % total
//	if A >= w0      goto 1; return index 0
//	1: if A >= w0+w1 goto 2; return index 1   …   return last index
//
// If all weights are zero there is no program.
func steeringProgram(shares []socketWeight) []unix.SockFilter {
	total := uint32(0)
	for _, s := range shares {
		total += uint32(s.weight)
	}
	if total == 0 {
		return nil
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: skfAdRandom},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: total},
	}
	below := uint32(0)
	for i, s := range shares {
		below += uint32(s.weight)
		if i < len(shares)-1 {
			program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jt: 1, K: below})
		}
		program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(s.index)})
	}
	return program
}

// connectionWeights turns the connections that each slot holds into weights: of the next
// arrivals each slot is to get what it lacks of an equal share of them all. A
// guess at how many these will be keeps a burst that comes before the weights
// can change again from going to the emptiest slot alone. Every slot gets a
// little, since a number read a moment ago is only nearly true.
func connectionWeights(held []int, arrivals int) []int {
	sum := 0
	for _, n := range held {
		sum += n
	}
	// Weights are in thousandths of a connection, for the sake of small numbers.
	share := (sum + max(arrivals, 1)) * 1000 / max(len(held), 1)
	weights := make([]int, len(held))
	for i, n := range held {
		weights[i] = min(max(share-n*1000, 1), 1<<21)
	}
	least := slices.Max(weights) / 32
	for i := range weights {
		weights[i] = max(weights[i], least)
	}
	return weights
}
