// The page of channels: the broadcast, and one channel that the user chooses. The page is a
// client of both.

import { el, write } from "./dom.js";
import { number, time } from "./format.js";
import { LiveSocket } from "./live.js";

export const title = "Channels";

const maxMessages = 200;
const validChannel = "[A-Za-z0-9._:\\-]{1,128}";
const states = { live: "Subscribed.", lost: "Not connected, reconnecting.", connecting: "Connecting." };

export function mount(root, params, app) {
  const broadcast = mountBroadcast(root, app);
  const channel = mountChannel(root, params.channel ?? "", app);
  return () => {
    broadcast();
    channel();
  };
}

// Messages is a list of the last messages.
class Messages {
  constructor(label, empty) {
    this.list = el("div", { className: "messages", role: "log", "aria-label": label, tabIndex: 0 });
    this.none = el("p", { className: "empty" }, empty);
    this.list.append(this.none);
  }

  add(mark, text) {
    this.none.remove();
    const { list } = this;
    const follow = list.scrollHeight - list.scrollTop - list.clientHeight < 20;
    list.append(el("div", {}, el("span", { className: "quiet" }, `${time(new Date())} ${mark} `), text));
    while (list.childElementCount > maxMessages) list.firstElementChild.remove();
    if (follow) list.scrollTop = list.scrollHeight;
  }
}

function mountBroadcast(root, app) {
  const messages = new Messages("Broadcast messages", "Messages of any client will be here, those of this page included.");
  messages.list.id = "received";
  const [clients, state] = [el("b", { id: "clients" }, "–"), el("span", { id: "broadcast-state", className: "quiet", role: "status" })];
  const words = el("input", { id: "words", maxLength: 500, autocomplete: "off" });
  const form = el("form", { id: "say", className: "row" }, el("label", { htmlFor: "words" }, "Message to all clients"), words, el("button", {}, "Send"));
  root.append(el("section", { "aria-labelledby": "broadcast-title" }, el("h2", { id: "broadcast-title" }, "Broadcast"),
    el("p", {}, "Clients of ", el("code", {}, "/broadcast"), " in all processes: ", clients, ". ", state), form, messages.list));
  const socket = new LiveSocket("/broadcast", {
    quiet: true,
    onMessage: (text) => messages.add("", text),
    onState: (name) => write(state, name === "live" ? "" : states[name]),
  });
  form.onsubmit = (event) => {
    event.preventDefault();
    if (!words.value) return;
    if (socket.send(words.value)) words.value = "";
    else write(state, "Not sent: not connected.");
  };
  const end = app.live.on("processes", (frame) => write(clients, number(frame.clients)));
  return () => {
    end();
    socket.close();
  };
}

function mountChannel(root, chosen, app) {
  const name = el("input", { id: "channel", value: chosen, required: true, pattern: validChannel, maxLength: 128, autocomplete: "off", spellcheck: false });
  const choose = el("form", { className: "row", id: "choose-channel" }, el("label", { htmlFor: "channel" }, "Channel"), name, el("button", {}, "Subscribe"));
  const state = el("span", { id: "channel-state", className: "quiet", role: "status" });
  choose.append(state);
  const section = el("section", { "aria-labelledby": "channel-title" }, el("h2", { id: "channel-title" }, "Channel"), choose);
  root.append(section);
  choose.onsubmit = (event) => {
    event.preventDefault();
    app.go("/channels", { channel: name.value });
  };
  if (!chosen) {
    section.append(el("p", { className: "empty" }, "Choose a channel. Its messages will be here with their sequence numbers, no matter which process published them."));
    return () => {};
  }
  const messages = new Messages(`Messages of channel ${chosen}`, `Messages of channel ${chosen} will be here as they are published.`);
  messages.list.id = "channel-messages";
  const words = el("textarea", { id: "channel-words", rows: 2, required: true });
  const publish = el("form", { id: "publish", className: "row" }, el("label", { htmlFor: "channel-words" }, "Message"), words, el("button", {}, "Publish"));
  publish.onsubmit = async (event) => {
    event.preventDefault();
    const sent = await app.attempt(async () => (await app.api.request(`/publish/${encodeURIComponent(chosen)}`, { method: "POST", headers: { "Content-Type": "text/plain; charset=utf-8" }, body: words.value })).json(),
      (note) => `message ${note.seq} published in channel ${note.channel}`);
    if (sent) words.value = "";
  };
  section.append(publish, messages.list);
  let last = null; // sequence number of the last message
  const socket = new LiveSocket(() => `/channels/${encodeURIComponent(chosen)}${last === null ? "" : `?since=${last}`}`, {
    quiet: true,
    onMessage: (text) => {
      const note = JSON.parse(text);
      if (note.gap) messages.add("", `Messages before number ${note.seq} were lost.`);
      if (note.data === undefined) {
        if (note.event === "subscribed") last ??= note.seq;
        return;
      }
      last = note.seq;
      messages.add(`#${note.seq}`, note.data);
    },
    onState: (name) => write(state, states[name]),
  });
  return () => socket.close();
}
