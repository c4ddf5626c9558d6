// The SIP.js phone. The test drives it through window.phone.
import {
  Inviter, Invitation, Messager, Registerer, RegistererState, SessionState, Subscriber, SubscriptionState,
  UserAgent,
} from "sip.js";
import { Calls, directionBecomes, hears, onLoopback, play, report } from "./calls.js";

const MEDIA = { constraints: { audio: true, video: false } };
const MODIFIERS = [
  async ({ type, sdp }) => ({ type, sdp: onLoopback(sdp) }),
];

let ua;
let registerer;
let account;
const calls = new Calls();

const targetURI = (user) => UserAgent.makeURI(`${account.scheme ?? "sip"}:${user}@${account.domain}`);
const connectionOf = (session) => session.sessionDescriptionHandler.peerConnection;

// The direction that the peer's newest description gives to its audio.
const offered = (body) => /^a=(sendrecv|sendonly|recvonly|inactive)/m.exec(body)?.[1] ?? "sendrecv";

// Adds the session to the calls and reports what happens to it.
function follow(session) {
  const call = calls.add(session);
  let established = false;
  let hungup = "local";
  // As the called party SIP.js says Established when it has sent the 200: the
  // call stands only when the ACK has come.
  const stands = () => {
    if (!established) {
      established = true;
      report("established", { call });
    }
  };
  session.delegate = {
    onSessionDescriptionHandler: (handler) => play(handler.peerConnection),
    onAck: stands,
    onBye: (bye) => {
      hungup = "remote";
      bye.accept();
    },
    onCancel: () => { hungup = "remote"; },
    onInvite: (request) => {
      const held = offered(request.body) !== "sendrecv";
      report(held ? "hold" : "unhold", { call, originator: "remote" });
    },
    onRefer: async (referral) => {
      await referral.accept();
      const inviter = referral.makeInviter({
        sessionDescriptionHandlerOptions: MEDIA,
        sessionDescriptionHandlerModifiers: MODIFIERS,
      });
      const referred = follow(inviter);
      report("referred", { call: referred });
      invite(inviter, referred);
    },
  };
  session.stateChange.addListener((state) => {
    if (state === SessionState.Established && session instanceof Inviter) {
      stands();
    }
    if (state === SessionState.Terminated) {
      if (established) {
        report("ended", { call, originator: hungup });
      } else if (session instanceof Invitation) {
        report("failed", { call, originator: hungup });
      }
    }
  });
  return call;
}

function invite(inviter, call) {
  return inviter.invite({
    requestDelegate: {
      onProgress: ({ message }) => report("progress", { call, status: message.statusCode }),
      onReject: ({ message }) => report("failed", { call, originator: "remote", status: message.statusCode }),
    },
  });
}

// A re-INVITE's outcome as a promise; SIP.js resolves when it is sent.
function reinvite(session, hold) {
  session.sessionDescriptionHandlerOptionsReInvite = { ...MEDIA, hold };
  session.sessionDescriptionHandlerModifiersReInvite = MODIFIERS;
  return new Promise((resolve, reject) => {
    session.invite({
      requestDelegate: {
        onAccept: () => resolve(),
        onReject: ({ message }) => reject(new Error(`re-INVITE: ${message.statusCode}`)),
      },
    }).catch(reject);
  });
}

const REGISTER = {
  requestDelegate: {
    onAccept: ({ message }) => report("registered", { status: message.statusCode }),
    onReject: ({ message }) => report("registrationFailed", { status: message.statusCode }),
  },
};

// SIP.js leaves it to the application to connect and register anew.
async function comeBack() {
  try {
    await ua.reconnect();
  } catch {
    setTimeout(comeBack, 500);
    return;
  }
  await registerer.register(REGISTER);
}

window.phone = {
  async register(options) {
    account = options;
    ua = new UserAgent({
      uri: UserAgent.makeURI(`sip:${account.user}@${account.domain}`),
      transportOptions: { server: account.server },
      authorizationUsername: account.user,
      authorizationPassword: account.password,
      sessionDescriptionHandlerFactoryOptions: {
        peerConnectionConfiguration: { iceServers: [] },
      },
      delegate: {
        onDisconnect: (error) => {
          if (error) {
            comeBack();
          }
        },
        onInvite: (invitation) =>
          report("incoming", { call: follow(invitation), peer: invitation.remoteIdentity.uri.user }),
        onMessage: (message) => {
          message.accept();
          report("message", {
            peer: message.request.from.uri.user,
            body: message.request.body,
          });
        },
      },
    });
    await ua.start();
    registerer = new Registerer(ua);
    registerer.stateChange.addListener((state) => {
      if (state === RegistererState.Unregistered) {
        report("unregistered");
      }
    });
    await registerer.register(REGISTER);
  },

  async unregister() {
    await registerer.unregister();
  },

  async dial(target) {
    const inviter = new Inviter(ua, targetURI(target), {
      sessionDescriptionHandlerOptions: MEDIA,
      sessionDescriptionHandlerModifiers: MODIFIERS,
    });
    const call = follow(inviter);
    await invite(inviter, call);
    return call;
  },

  answer(call) {
    return calls.get(call).accept({
      sessionDescriptionHandlerOptions: MEDIA,
      sessionDescriptionHandlerModifiers: MODIFIERS,
    });
  },

  reject(call, status) {
    return calls.get(call).reject({ statusCode: status });
  },

  async hangup(call) {
    const session = calls.get(call);
    if (session.state === SessionState.Established) {
      await session.bye();
    } else if (session instanceof Inviter) {
      await session.cancel();
    } else {
      await session.reject();
    }
  },

  hold: (call) => reinvite(calls.get(call), true),
  unhold: (call) => reinvite(calls.get(call), false),

  async refer(call, target) {
    await calls.get(call).refer(targetURI(target), {
      requestDelegate: {
        onAccept: () => report("referAccepted", { call }),
        onReject: ({ message }) => report("referFailed", { call, status: message.statusCode }),
      },
      onNotify: (notification) => {
        notification.accept();
        const status = Number(/^SIP\/2\.0 (\d+)/.exec(notification.request.body)?.[1] ?? 0);
        report("referNotify", { call, status });
      },
    });
  },

  async message(target, body) {
    await new Messager(ua, targetURI(target), body).message({
      requestDelegate: {
        onAccept: ({ message }) => report("messageSent", { status: message.statusCode }),
        onReject: ({ message }) => report("messageFailed", { status: message.statusCode }),
      },
    });
  },

  // Subscribes to the user's own registrations.
  watch() {
    const subscriber = new Subscriber(ua, targetURI(account.user), "reg", {
      extraHeaders: ["Accept: application/reginfo+xml"],
    });
    subscriber.delegate = {
      onNotify(notification) {
        notification.accept();
        report("reginfo", { body: notification.request.body });
      },
    };
    subscriber.stateChange.addListener((state) => {
      if (state === SubscriptionState.Subscribed) {
        report("watching");
      } else if (state === SubscriptionState.Terminated) {
        report("watchEnded");
      }
    });
    return subscriber.subscribe();
  },

  hears: (call, packets) => hears(connectionOf(calls.get(call)), packets),
  directionBecomes: (call, direction) => directionBecomes(connectionOf(calls.get(call)), direction),
};
