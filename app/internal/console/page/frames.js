// Frames are the messages of /console/live, by type: processes, queues and tasks.

export class Frames {
  #handlers = new Map();
  #latest = new Map();

  // on calls handler with each frame of a type, and at once with the latest one if there is
  // one. It returns a function that ends this.
  on(type, handler) {
    const all = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, all.add(handler));
    const latest = this.#latest.get(type);
    if (latest) handler(latest);
    return () => all.delete(handler);
  }

  deliver(frame) {
    this.#latest.set(frame.type, frame);
    for (const handler of [...(this.#handlers.get(frame.type) ?? [])]) {
      try {
        handler(frame);
      } catch (err) {
        reportError(err); // an error in one part of the page must not stop its other parts
      }
    }
  }
}
