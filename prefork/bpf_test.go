package prefork

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// choose interprets a steering program with a given random number.
func choose(t *testing.T, program []unix.SockFilter, random uint32) uint32 {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		switch ins := program[pc]; ins.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = random
		case unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K:
			a %= ins.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			if a >= ins.K {
				pc += int(ins.Jt)
			} else {
				pc += int(ins.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return ins.K
		default:
			t.Fatalf("unknown instruction %+v", ins)
		}
	}
	t.Fatal("the program ends without a return")
	return 0
}

func TestSteeringProgramFollowsTheWeights(t *testing.T) {
	weights := []socketWeight{{index: 2, weight: 1}, {index: 0, weight: 3}, {index: 5, weight: 6}}
	program := steeringProgram(weights)
	got := map[uint32]int{}
	for random := range uint32(1000) {
		got[choose(t, program, random)]++
	}
	if got[2] != 100 || got[0] != 300 || got[5] != 600 || len(got) != 3 {
		t.Errorf("of 1000: %v", got)
	}
	if steeringProgram(nil) != nil || steeringProgram([]socketWeight{{0, 0}}) != nil {
		t.Error("steeringProgram returned a program, although all weights are zero; want nil")
	}
	many := make([]socketWeight, 1000)
	for i := range many {
		many[i] = socketWeight{i, 1 << 21}
	}
	if p := steeringProgram(many); len(p) > unix.BPF_MAXINSNS {
		t.Errorf("%d instructions for 1000 slots; the limit of the kernel is %d", len(p), unix.BPF_MAXINSNS)
	} else if i := choose(t, p, 1<<31); i != 1<<31/(1<<21)%1000 {
		t.Errorf("chose %d", i)
	}
}

func TestConnectionWeights(t *testing.T) {
	for _, c := range []struct {
		name     string
		held     []int
		arrivals int
		want     []int
	}{
		{"equal", []int{7, 7}, 2, []int{1000, 1000}},
		{"no connections", []int{0, 0, 0, 0}, 0, []int{250, 250, 250, 250}},
		{"one slot needs all arrivals", []int{0, 100}, 100, []int{100000, 3125}},
		{"more arrivals than one slot needs", []int{0, 100}, 300, []int{200000, 100000}},
	} {
		if got := connectionWeights(c.held, c.arrivals); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v; want %v", c.name, got, c.want)
		}
	}
	if got := connectionWeights([]int{1 << 40, 0}, 0); got[0] < 1 || got[1] > 1<<21 {
		t.Errorf("very large number: %v", got)
	}
}
