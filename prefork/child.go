package prefork

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/sleep"
)

// Causes of the end of the context that Child.Run passes to its function.
var (
	// ErrTerminated: the master sent SIGTERM.
	ErrTerminated = errors.New("terminated by the master")
	// ErrOrphaned: the master has exited.
	ErrOrphaned = errors.New("the master has exited")
)

// heartbeatInterval is the time between two heartbeats. The master notices about this
// long after it that a stalled child works again.
const heartbeatInterval = time.Second

// Child is this process, as a child of a Master.
type Child struct {
	// Role and Number identify the slot, such as serve and 0.
	Role   string
	Number int
	// Generation counts the processes that the slot has had, from 1.
	Generation int
	// Instance identifies the master. It is the same for all of its children.
	Instance string
	// Config is what Options.ConfigFor returned for the role, by default
	// Options.Config.
	Config []byte

	control    socket
	page       *page
	counters   *Counters
	report     *report // memory for reports; nil: the master is of an older release and does not support them
	shared     []byte  // see SharedMemory
	fromMaster masterListener

	mu       sync.Mutex
	listener *listener // nil before the first call of Listener
}

// Inherit reports whether this process is a child of a Master, and returns its
// Child. environ is the environment in the form of os.Environ. The error says that
// GALE_SLOT is set in the environment, but that the descriptors, variables or messages
// that a master passes to a child are missing or invalid.
func Inherit(environ []string) (c *Child, ok bool, err error) {
	vars := variables(environ)
	name, ok := vars[envSlot]
	if !ok {
		return nil, false, nil
	}
	c = &Child{Instance: vars[envInstance], fromMaster: newMasterListener()}
	role, number, _ := strings.Cut(name, ".")
	c.Role = role
	var errNumber, errGeneration error
	c.Number, errNumber = strconv.Atoi(number)
	c.Generation, errGeneration = strconv.Atoi(vars[envGeneration])
	if errNumber != nil || errGeneration != nil || role == "" {
		return nil, true, fmt.Errorf("%s=%s is set, but this process was not started by a master: unset it", envSlot, name)
	}
	if c.page, err = mapPage(fdPage); err != nil {
		return nil, true, fmt.Errorf("%s=%s is set, but this process was not started by a master: unset it: %w", envSlot, name, err)
	}
	unix.CloseOnExec(fdPage)
	var index int
	if c.counters, index = c.page.find(c.Generation); c.counters == nil {
		return nil, true, fmt.Errorf("%s=%s is set, but the scoreboard has no entry for generation %d: unset it", envSlot, name, c.Generation)
	}
	if vars[envReports] != "" {
		if c.report, err = inheritReport(index); err != nil {
			return nil, true, fmt.Errorf("%s=%s is set, but this process was not started by a master: unset it: %w", envSlot, name, err)
		}
	}
	if vars[envShared] != "" {
		if c.shared, err = inheritShared(); err != nil {
			return nil, true, fmt.Errorf("%s=%s is set, but this process was not started by a master: unset it: %w", envSlot, name, err)
		}
	}
	if c.control, err = newSocket(fdControl, "control"); err != nil {
		return nil, true, fmt.Errorf("connect to the master: %w", err)
	}
	buf := make([]byte, len(configMessage)+maxConfig)
	n, err := c.control.Read(buf)
	if err != nil {
		return nil, true, fmt.Errorf("read configuration from the master: %w", err)
	}
	if c.Config, ok = bytes.CutPrefix(buf[:n], []byte(configMessage)); !ok {
		return nil, true, fmt.Errorf("read configuration from the master: unexpected message")
	}
	// ps and top show this name. Otherwise they show "exe".
	_ = os.WriteFile("/proc/self/comm", []byte(c.Slot()), 0)
	return c, true, nil
}

// Slot is the name of the slot: role and number, such as serve.0.
func (c *Child) Slot() string { return fmt.Sprintf("%s.%d", c.Role, c.Number) }

// Owner identifies the slot among the slots of all masters, for leases in a shared
// store. All processes of the slot have the same owner.
func (c *Child) Owner() string { return c.Instance + "/" + c.Slot() }

// Counters are the connection and request counters of this process.
func (c *Child) Counters() *Counters { return c.counters }

// AppCounters are the application's own counters. All processes of the slot share
// them. The counters keep their values when a process exits.
func (c *Child) AppCounters() *AppCounters { return &c.page.appCounters }

// OnlyProcess reports whether no other process of the slot is running. The caller
// may then take over leases that an earlier process held under the same Owner.
func (c *Child) OnlyProcess() bool { return c.page.onlyProcess(c.Generation) }

// Listener returns the listener of the slot. Call it once, before Ready: the listener
// accepts nothing before Ready, and one made after Ready never accepts.
//
// The listener accepts from the slot's own socket. While another slot does not accept, the
// master may pass its socket to this process, and the listener then accepts from that
// socket, too. Close closes this process's copies of the sockets; the copies in the master
// stay open. After Close, Accept returns the connections that were accepted before, and
// then net.ErrClosed. The error says that no listening socket was inherited, because the
// role does not listen.
func (c *Child) Listener() (net.Listener, error) {
	own, err := listenerFromFD(fdListener)
	if err != nil {
		return nil, fmt.Errorf("inherit listening socket: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listener = newListener(c.Slot(), own, c.counters)
	return c.listener, nil
}

// Ready opens the listener and notifies the master that this process is ready.
// Before that the listener accepts nothing, because a process that fails to start must
// not accept connections that another slot could serve. The error says that the message
// could not be sent, because the master has exited.
func (c *Child) Ready() error {
	c.mu.Lock()
	if c.listener != nil {
		c.listener.open()
	}
	c.mu.Unlock()
	if err := c.control.Send(readyMessage, -1); err != nil {
		return fmt.Errorf("notify master: %w", err)
	}
	return nil
}

// Run calls work, and sends heartbeats until work returns. The context of work ends when
// ctx ends, or when the process has to exit: its cause is then ErrTerminated or
// ErrOrphaned. After that work must return within grace. Run returns the error of work, or
// an error that wraps the cause if work has not returned in time.
//
// SIGINT and SIGHUP are ignored: a terminal sends them to the whole process group,
// and only the master acts on them. SIGQUIT prints all goroutines and ends the
// process.
func (c *Child) Run(ctx context.Context, grace time.Duration, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go c.handleMessages(cancel) // ends with the master, or the process

	var others sync.WaitGroup
	defer others.Wait()
	running, stop := context.WithCancel(context.Background())
	defer stop()
	// The handlers must be installed before work calls Ready, because the master may send
	// SIGTERM right after that.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)          // see Master.Run
	others.Go(func() { c.sendHeartbeats(running, cancel, signals) }) // ends when Run returns

	done := make(chan error, 1)
	go func() { done <- work(ctx) }() // ends with work
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return fmt.Errorf("%w, and work has not finished within %v", context.Cause(ctx), grace)
	}
}

// sendHeartbeats sends heartbeats and handles signals until ctx ends. SIGTERM calls
// cancel.
func (c *Child) sendHeartbeats(ctx context.Context, cancel context.CancelCauseFunc, signals <-chan os.Signal) {
	tick := time.NewTimer(sleep.Align(heartbeatInterval))
	defer tick.Stop()
	c.Counters().setHeartbeat(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			c.Counters().setHeartbeat(now)
			tick.Reset(sleep.Align(heartbeatInterval))
		case sig := <-signals:
			if sig == syscall.SIGTERM {
				cancel(ErrTerminated)
			}
		}
	}
}

// handleMessages handles the messages on the control socket. When the master has closed
// the socket, handleMessages calls cancel and returns.
func (c *Child) handleMessages(cancel context.CancelCauseFunc) {
	buf, rights := make([]byte, 256), make([]byte, unix.CmsgSpace(4))
	for {
		n, nr, _, _, err := c.control.ReadMsgUnix(buf, rights)
		if err != nil || n == 0 {
			cancel(ErrOrphaned)
			return
		}
		text := string(buf[:n])
		if text == dialMessage {
			c.fromMaster.deliver(connFrom(rights[:nr]))
			continue
		}
		socket := socketFrom(rights[:nr])
		c.mu.Lock()
		l := c.listener
		c.mu.Unlock()
		slot, adopt := strings.CutPrefix(text, adoptMessage)
		switch {
		case adopt && l != nil && socket != nil:
			l.add(slot, socket)
			continue
		case l != nil && strings.HasPrefix(text, releaseMessage):
			l.remove(strings.TrimPrefix(text, releaseMessage))
		}
		if socket != nil {
			_ = socket.Close()
		}
	}
}

// socketFrom returns the listening socket in a control message (unix(7),
// SCM_RIGHTS), or nil if there is none.
func socketFrom(rights []byte) net.Listener {
	fd := descriptorFrom(rights)
	if fd < 0 {
		return nil
	}
	socket, err := listenerFromFD(uintptr(fd))
	if err != nil {
		return nil
	}
	return socket
}

// descriptorFrom returns the descriptor in a control message, or -1 if there is
// none.
func descriptorFrom(rights []byte) int {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) == 0 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1
	}
	unix.CloseOnExec(fds[0])
	return fds[0]
}
