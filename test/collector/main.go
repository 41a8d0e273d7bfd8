// Collector receives spans with the OTLP receiver of the OpenTelemetry Collector, and writes
// them to standard output: a line of JSON for each batch, in the form of OTLP. It is for tests,
// and a module of its own, because the Collector has many dependencies.
//
//	collector 127.0.0.1:4318
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: collector HOST:PORT")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

// run receives spans until SIGTERM.
func run(address string) error {
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	given := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{"http": map[string]any{"endpoint": address}}})
	if err := given.Unmarshal(config); err != nil {
		return fmt.Errorf("configure receiver: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	sink, err := consumer.NewTraces(new(printer).print)
	if err != nil {
		return fmt.Errorf("make consumer: %w", err)
	}
	settings := receiver.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings(), BuildInfo: component.NewDefaultBuildInfo()}
	r, err := factory.CreateTraces(ctx, settings, config, sink)
	if err != nil {
		return fmt.Errorf("make receiver: %w", err)
	}
	if err := r.Start(ctx, componenttest.NewNopHost()); err != nil {
		return fmt.Errorf("start receiver: %w", err)
	}
	fmt.Fprintln(os.Stderr, "receiving spans at", address)
	<-ctx.Done()
	if err := r.Shutdown(context.Background()); err != nil {
		return fmt.Errorf("stop receiver: %w", err)
	}
	return nil
}

// printer writes batches to standard output.
type printer struct {
	mu sync.Mutex
	to ptrace.JSONMarshaler
}

func (p *printer) print(_ context.Context, spans ptrace.Traces) error {
	text, err := p.to.MarshalTraces(spans)
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err = os.Stdout.Write(append(text, '\n'))
	return err
}
