package uploads

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// crashEnv makes the test binary a process that stores files in that folder in a
// way and stops at a moment: "moment way folder".
const crashEnv = "GALE_TEST_UPLOADS_CRASH"

// crasher says when it has come to the moment, and waits there to be killed.
func storeUntilStopped(moment, way, dir string) error {
	sys, armed := realSyscalls(), false
	linkat := sys.linkat
	stop := func() {
		fmt.Println("stopped")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test kills it
	}
	sys.linkat = func(olddir int, oldname string, newdir int, newname string, flags int) error {
		if armed && moment == "noted" {
			stop()
		}
		err := linkat(olddir, oldname, newdir, newname, flags)
		if armed && err == nil {
			stop()
		}
		return err
	}
	s, err := open(dir, Options{Stored: func(context.Context, string, File) error { return errors.New("too early") }}, sys)
	if err != nil {
		return err
	}
	if way == "multipart" {
		armed = true
		_, err = s.Multipart(context.Background(), strings.NewReader(formBody(filePart("d", "a.bin", "content"))), testBoundary)
		return err
	}
	u, err := beginUpload(s, way)
	if err != nil {
		return err
	}
	if _, err := u.Write(context.Background(), []byte("content")); err != nil {
		return err
	}
	armed = true
	if way == "numbered" {
		_, err = u.PublishNumbered(context.Background(), "d", "a.bin")
	} else {
		_, err = u.Publish(context.Background(), "d", "a.bin")
	}
	return err
}

// begin begins an upload of the store's own, or of a file that is kept, as tus does.
func beginUpload(s *Store, way string) (*Upload, error) {
	if way != "kept" {
		return s.Create(context.Background())
	}
	folder, err := s.PrivateFolder(".kept")
	if err != nil {
		return nil, err
	}
	f, err := folder.OpenFile(resumedID, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return s.Resume(context.Background(), f, ".kept/"+resumedID, Checkpoint{})
}

const resumedID = "KEPT"

// A process that is killed between the name of a file and the call of Stored leaves
// no file without that call, and one that is killed before the name leaves no call
// without a file.
func TestKillBeforeStored(t *testing.T) {
	for _, way := range []string{"multipart", "publish", "numbered", "kept"} {
		for moment, want := range map[string]int{"noted": 0, "published": 1} {
			t.Run(way+"/"+moment, func(t *testing.T) {
				dir := t.TempDir()
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), crashEnv+"="+moment+" "+way+" "+dir, "GORACE=atexit_sleep_ms=0")
				cmd.Stderr = os.Stderr
				if _, err := cmd.StdinPipe(); err != nil {
					t.Fatal(err)
				}
				stdout, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = cmd.Process.Kill() }) // an error says that it has ended
				if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
					t.Fatalf("it did not come that far: %v", err)
				}
				var calls storedCalls
				s := openStore(t, dir, Options{Stored: calls.stored})
				if retry(t, s, 0); len(calls.files) != 0 || len(records(t, dir)) != 1 {
					t.Fatalf("while it lives: %v, %v", calls.files, records(t, dir))
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait() // killed
				retry(t, s, 0)
				retry(t, s, 0)
				if n := calls.names()["d/a.bin"]; n != want || len(calls.files) != want || len(records(t, dir)) != 0 {
					t.Errorf("called for %v, left %v", calls.names(), records(t, dir))
				}
				for id, files := range calls.files {
					if f := files[0]; f.ID != id || (way == "kept") != (id == resumedID) || f.SHA256 != sum("content") || f.Size != 7 || f.Code != CodeStored {
						t.Errorf("%s: %+v", id, f)
					}
				}
			})
		}
	}
}
