// The JsSIP phone. The test drives it through window.phone.
import JsSIP from "jssip";
import { Calls, directionBecomes, hears, onLoopback, play, report } from "./calls.js";

const MEDIA = {
  mediaConstraints: { audio: true, video: false },
  pcConfig: { iceServers: [] },
};

let ua;
let account;
const calls = new Calls();

// Adds the session to the calls and reports what happens to it.
function follow(session) {
  const call = calls.add(session);
  const prepare = (connection) => play(connection);
  if (session.connection) {
    prepare(session.connection);
  }
  session.on("peerconnection", ({ peerconnection }) => prepare(peerconnection));
  session.on("sdp", (event) => {
    event.sdp = onLoopback(event.sdp);
  });
  let sent;
  session.on("sending", () => {
    sent = performance.now();
  });
  session.on("progress", ({ originator, response }) => {
    if (originator === "remote") {
      report("progress", { call, status: response.status_code });
    }
  });
  session.on("accepted", () => report("accepted", { call }));
  session.on("confirmed", () => report("established", { call }));
  session.on("hold", ({ originator }) => report("hold", { call, originator }));
  session.on("unhold", ({ originator }) => report("unhold", { call, originator }));
  session.on("ended", ({ originator, cause }) => report("ended", { call, originator, cause }));
  session.on("failed", ({ originator, cause, message }) =>
    report("failed", {
      call, originator, cause, status: message?.status_code ?? 0,
      took: Math.round(performance.now() - sent) || 0,
    }));
  session.on("refer", ({ accept }) =>
    accept((referred) => report("referred", { call: follow(referred) }), MEDIA));
  return call;
}

// renegotiate turns JsSIP's "called back when it is over", its "false when it
// cannot start" and its end of the call when it fails into a promise.
function renegotiate(session, method) {
  return new Promise((resolve, reject) => {
    session.once("ended", ({ cause }) => reject(new Error(`${method}: ended: ${cause}`)));
    if (session[method]({}, resolve) === false) {
      reject(new Error(`${method}: refused by JsSIP`));
    }
  });
}

window.phone = {
  register(options) {
    account = options;
    ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(account.server)],
      uri: `sip:${account.user}@${account.domain}`,
      password: account.password,
      authorization_jwt: account.token ? `Bearer ${account.token}` : undefined,
      // A test of tokens waits for the next connection, and need not wait for long.
      connection_recovery_max_interval: account.token ? 2 : 30,
    });
    ua.on("registered", ({ response }) => report("registered", { status: response.status_code }));
    ua.on("disconnected", ({ code }) => report("disconnected", { status: code ?? 0 }));
    ua.on("unregistered", () => report("unregistered"));
    ua.on("registrationFailed", ({ cause, response }) =>
      report("registrationFailed", { cause, status: response?.status_code ?? 0 }));
    ua.on("newRTCSession", ({ originator, session, request }) => {
      if (originator === "remote") {
        report("incoming", { call: follow(session), peer: request.from.uri.user });
      }
    });
    ua.on("newMessage", ({ originator, message, request }) => {
      if (originator === "remote") {
        report("message", { peer: message.remote_identity.uri.user, body: request.body });
      }
    });
    ua.start();
  },

  // Logs in anew with a token of now.
  login(token) {
    ua.set("authorization_jwt", `Bearer ${token}`);
    ua.register();
  },

  unregister() {
    ua.unregister();
  },

  dial(target) {
    return new Promise((resolve) => {
      // The session exists before its INVITE is built; its events must not be missed.
      ua.once("newRTCSession", ({ session }) => resolve(follow(session)));
      // A text of whatever scheme is made a sip URI.
      ua.call(new JsSIP.URI(account.scheme ?? "sip", target, account.domain), MEDIA);
    });
  },

  answer(call) {
    calls.get(call).answer(MEDIA);
  },

  reject(call, status) {
    calls.get(call).terminate({ status_code: status });
  },

  hangup(call) {
    calls.get(call).terminate();
  },

  hold: (call) => renegotiate(calls.get(call), "hold"),
  unhold: (call) => renegotiate(calls.get(call), "unhold"),

  refer(call, target) {
    calls.get(call).refer(`sip:${target}@${account.domain}`, {
      eventHandlers: {
        requestSucceeded: () => report("referAccepted", { call }),
        requestFailed: ({ response, cause }) =>
          report("referFailed", { call, cause, status: response?.status_code ?? 0 }),
        trying: ({ status_line }) => report("referNotify", { call, status: status_line.status_code }),
        progress: ({ status_line }) => report("referNotify", { call, status: status_line.status_code }),
        accepted: ({ status_line }) => report("referNotify", { call, status: status_line.status_code }),
        failed: ({ status_line }) => report("referNotify", { call, status: status_line.status_code }),
      },
    });
  },

  message(target, body) {
    ua.sendMessage(`sip:${target}@${account.domain}`, body, {
      eventHandlers: {
        succeeded: ({ response }) => report("messageSent", { status: response.status_code }),
        failed: ({ response, cause }) =>
          report("messageFailed", { cause, status: response?.status_code ?? 0 }),
      },
    });
  },

  // Subscribes to the user's own registrations.
  watch() {
    const subscriber = ua.subscribe(`sip:${account.user}@${account.domain}`, "reg", "application/reginfo+xml", {});
    subscriber.on("accepted", () => report("watching"));
    subscriber.on("notify", (isFinal, request, body) => report("reginfo", { body }));
    subscriber.on("terminated", (code, reason) => report("watchEnded", { cause: `${code} ${reason}` }));
    subscriber.subscribe();
  },

  hears: (call, packets) => hears(calls.get(call).connection, packets),
  directionBecomes: (call, direction) => directionBecomes(calls.get(call).connection, direction),
};
