// Package prefork runs one program as a master process and a number of child
// processes, as Tornado's HTTPServer.start(n), gunicorn and nginx do.
//
// The master binds the listening sockets, starts the children, and restarts each
// child that exits. It runs no application code, so that errors in the application
// cannot stop it. A child is another process of the same binary. A program calls
// Inherit first: it returns a Child in a child, and false in a process that is to
// be a master. A master is made with New; then call Master.Trial, Master.Listen and
// Master.Run, in this order.
//
// # Slots
//
// A slot is a place for one process. It has a role, a number and, if its role
// listens, a listening socket. The slot keeps them while its processes are replaced.
// The socket stays open in the master. If a child exits, the connections in its
// accept queue therefore stay in the kernel, and the next process accepts them. The
// states of a slot are the states of its current process:
//
//	         spawn           "ready"       no heartbeat, nothing accepted
//	backoff ───────► booting ───────► live ◄───────────────────► stalled
//	   ▲                │ boot timeout │                            │ hang timeout
//	   │                │       KILL   │                            ▼
//	   │                │              │             hung: QUIT, then KILL
//	   └─────── exit ───┴──────────────┴────────────────────────────┘
//
// A live process becomes stalled if it has sent no heartbeat for 3 s, or if it has accepted
// nothing for 100 ms although its accept queue is not empty. It becomes live again when it
// has sent a heartbeat since then and its accept queue is empty or it accepts.
//
// A process is replaced by a reload, or when it reaches its limit of requests or
// memory. It stays the current process until its successor is ready:
//
//	successor: booting ──"ready"──► live, and current from now on
//	              └─exit, boot timeout─► next attempt after the backoff
//	current:   live ──► leaving: TERM ──grace time──► QUIT ──2 s──► KILL
//
// SIGTTOU removes a slot. The slot gets no new connections. When its accept queue
// has been empty for 500 ms, the master closes the socket and drains the process:
//
//	leaving ──queue empty for 500 ms──► leaving, TERM ──exit──► stopped
//
// SIGTERM and SIGINT drain all processes. A second one kills them.
//
// # Reload
//
// SIGHUP reloads the program. The master tests the new binary and configuration
// before it changes anything (reload.go). Then it executes the new binary in its own
// process (execve(2)), and passes its state on in a memory file (handover.go,
// resume.go). The new master replaces the children one by one (rollout.go).
//
// # Steering
//
// The kernel distributes new connections among the sockets of the slots. A BPF
// program, which the master attaches to the sockets, restricts them to live slots
// and prefers slots with fewer connections (bpf.go, steering.go). The master replaces
// the program when slots change their state or their number of connections. If a slot
// is not live, a live slot adopts its socket: the process of the live slot gets
// a copy of the socket, and accepts the connections in its queue.
//
// # The parts of a master
//
// The goroutine that calls Master.Run owns all state. Signals, exits and messages
// from children are events of its loop, so no lock is needed. The state is divided
// among these types, which have no reference to the master; only the reloader calls it,
// through an interface:
//
//	slotTable        the slots, and the statistics of removed slots
//	supervisor       starts and stops processes: backoff, deadlines
//	sockets          the listening sockets of the slots
//	steering         distributes new connections among the slots
//	arrivals         wakes the idle master at the next connection
//	monitor          checks heartbeats, accept queues and memory
//	resizer          adds and removes slots
//	rollout          replaces processes one by one
//	reloader         tests a new release: trial and canaries
//	notifier         sends the state of the server to systemd
//	parkedListeners  the master's own listening sockets
//	system           all calls to the operating system
//
// # What a child inherits
//
// A child inherits these descriptors:
//
//	fd 3  control socket (SOCK_SEQPACKET), see below
//	fd 4  the slot's page of the scoreboard (scoreboard.go)
//	fd 5  the slot's listening socket, if its role listens
//	fd 6  memory for its reports (report.go), if GALE_REPORTS is set
//	fd 7  memory that all processes share (shared.go), if GALE_SHARED is set
//
// These environment variables:
//
//	GALE_SLOT        name of the slot, such as serve.0
//	GALE_GENERATION  number of processes that the slot has had, this one included
//	GALE_INSTANCE    identifies the master, also after a reload: host name and a random suffix
//
// And these messages on the control socket, whose end of file means that the master
// has exited:
//
//	config CONFIG  from the master, the first message
//	adopt SLOT     from the master, with the socket of that slot: accept from it
//	release SLOT   from the master: stop accepting from the socket of that slot
//	visit          from the master, with a connection for Child.MasterListener
//	ready          from the child: it is ready
package prefork

// Environment variables of a child, see the package comment.
const (
	envSlot       = "GALE_SLOT"
	envGeneration = "GALE_GENERATION"
	envInstance   = "GALE_INSTANCE"
	envReports    = "GALE_REPORTS"
	envShared     = "GALE_SHARED"
)

// File descriptors of a child, see the package comment.
const (
	fdControl = 3 + iota
	fdPage
	fdListener
	fdReports
	fdShared
)

// Messages on the control socket, see the package comment. Processes of other
// releases use them, so they never change.
const (
	configMessage  = "config "
	adoptMessage   = "adopt "
	releaseMessage = "release "
	dialMessage    = "visit"
	readyMessage   = "ready"
)

// maxConfig is the maximum size of a configuration in bytes. It must fit into one
// message of a socket with the kernel's default buffer size.
const maxConfig = 128 << 10
