package prefork

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// skfAdRandom is SKF_AD_OFF + SKF_AD_RANDOM of linux/filter.h: a load from this
// offset returns 32 random bits.
const skfAdRandom = 0xfffff000 + 56

// socketWeight is the share of new connections that one socket of a SO_REUSEPORT
// group gets, relative to the weights of the other sockets.
type socketWeight struct {
	index  int // position of the socket in its group, in the order of listen(2)
	weight int
}

// attachSteering attaches a classic BPF program (socket(7),
// SO_ATTACH_REUSEPORT_CBPF) to the group of the socket fd. The program distributes
// new connections at random, by weight. It replaces the previous program
// immediately. fd may be any socket of the group. No privilege is needed.
func attachSteering(fd int, weights []socketWeight) error {
	program := steeringProgram(weights)
	if program == nil {
		return nil
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}))
}

// steeringProgram returns a program that draws a random number below the sum of
// all weights, and returns the index of the socket whose range contains it:
//
//	A = random % total
//	if A >= w0      goto 1; return index 0
//	1: if A >= w0+w1 goto 2; return index 1   …   return last index
//
// It returns nil if all weights are zero.
func steeringProgram(weights []socketWeight) []unix.SockFilter {
	total := uint32(0)
	for _, w := range weights {
		total += uint32(w.weight)
	}
	if total == 0 {
		return nil
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: skfAdRandom},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: total},
	}
	end := uint32(0) // end of the range of the socket
	for i, w := range weights {
		end += uint32(w.weight)
		if i < len(weights)-1 {
			program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jt: 1, K: end})
		}
		program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(w.index)})
	}
	return program
}

// connectionWeights returns the weights that even out the numbers of open
// connections. The next arrivals are distributed so that all slots then hold the
// same number of connections. arrivals is an estimate of how many connections
// arrive before the weights can change again. Without it, all connections of a burst
// would go to the slot with the fewest connections. Every slot gets at least a small
// weight, because the numbers in held are slightly out of date.
func connectionWeights(held []int, arrivals int) []int {
	sum := 0
	for _, n := range held {
		sum += n
	}
	// Weights are in thousandths of a connection, to keep precision with few
	// connections.
	target := (sum + max(arrivals, 1)) * 1000 / max(len(held), 1)
	weights := make([]int, len(held))
	for i, n := range held {
		weights[i] = min(max(target-n*1000, 1), 1<<21)
	}
	least := slices.Max(weights) / 32
	for i := range weights {
		weights[i] = max(weights[i], least)
	}
	return weights
}
