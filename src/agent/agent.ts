import { describeError } from "../base/errors.ts";
import { configureLogs, logger } from "../base/log.ts";
import { VERSION } from "../base/version.ts";
import type { AgentFlags } from "../config/flags.ts";
import { notifyServiceManager } from "../ffi/notify.ts";
import type { DebugParts } from "../status/debug-routes.ts";
import { EventLog } from "../status/event-log.ts";
import { healthApp } from "../status/health.ts";
import type { Fetch } from "../status/http-server.ts";
import { type Listener, listen } from "../status/listen.ts";
import { CniConfKeeper } from "./cni-conf-keeper.ts";
import { Node } from "./node.ts";
import { Prober } from "./prober.ts";
import { openLeaseSource } from "./sources.ts";

const log = logger("agent");

/** After a signal the agent is gone within a second, whatever hangs. */
const STOP_MS = 800;

/**
 * Runs this node's agent until a signal or until its lease is lost for good. The kernel's state stays as it is at the end.
 * @returns the exit code
 */
export async function runAgent(
  flags: AgentFlags,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  configureLogs({ format: flags.logFormat, verbosity: flags.verbosity });
  const events = EventLog.ofAgent();
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      const message = `${signal}: stopping, the kernel's state stays as it is`;
      log.info("{message}", { message });
      events.add({ kind: "stopping", message, cause: signal });
      end(0);
    });
  }
  const source = await openLeaseSource(flags, environment);
  log.info("tartan {version} starts", { version: VERSION });
  events.add({ kind: "started", message: `tartan ${VERSION}, process ${process.pid}` });
  const nodeName = environment["NODE_NAME"];
  const notify = serviceNotifier(environment["NOTIFY_SOCKET"]);
  const cniConf = flags.cniConf && new CniConfKeeper(flags.cniConf);
  const prober =
    flags.probeSeconds > 0
      ? new Prober({ seconds: flags.probeSeconds, onNews: (news) => events.add(news) })
      : undefined;
  const node = new Node({
    flags,
    source,
    events,
    ...(nodeName ? { name: nodeName } : {}),
    onFatal: (error) => {
      log.fatal("stopping: {error}", { error: describeError(error) });
      events.add({
        kind: "stopping",
        level: "error",
        message: "this node's lease is lost",
        cause: describeError(error),
      });
      end(1);
    },
    onProgrammed: (plan) => prober?.want(plan),
    onReady: () => {
      cniConf?.start();
      notify("READY=1");
    },
  });
  const facts = () => ({
    ...node.facts(),
    ...(cniConf === undefined ? {} : { cniConf: cniConf.facts() }),
    ...(prober === undefined ? {} : { probes: prober.facts() }),
  });
  const listeners: Listener[] = [];
  if (flags.healthz !== undefined) listeners.push(listen(flags.healthz, healthApp(facts).fetch, "--healthz-port"));
  const stopping = new AbortController();
  const parts = { facts, stopping: stopping.signal };
  for (const address of flags.debugAddresses) {
    listeners.push(listen(address, debugFetch({ ...parts, address }), "--debug-addr"));
  }
  if (flags.debugSocket !== undefined) {
    const address = { kind: "unix", path: flags.debugSocket } as const;
    listeners.push(listen(address, debugFetch({ ...parts, address, control: node }), "--debug-socket", "owner"));
  }
  node.start();

  const code = await ended;
  notify("STOPPING=1");
  stopping.abort();
  cniConf?.stop();
  prober?.stop();
  const stopped = Promise.all([node.stop(), ...listeners.map((listener) => listener.stop())]);
  const late = Symbol("late");
  const result = await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, STOP_MS, late))]);
  if (result === late) log.warn("something did not stop in {ms} ms, ending all the same", { ms: STOP_MS });
  source.close();
  return code;
}

/** The debug API; loaded when it is first asked for: on most nodes nobody ever does. */
function debugFetch(parts: DebugParts): Fetch {
  let app: Promise<{ readonly fetch: Fetch }> | undefined;
  return async (request) => {
    app ??= import("../status/server.ts").then(({ debugApp }) => debugApp(parts));
    return (await app).fetch(request);
  };
}

/** @returns a function that tells systemd of a state, each state once; does nothing without a service manager */
function serviceNotifier(socket: string | undefined): (state: string) => void {
  const told = new Set<string>();
  return (state) => {
    if (!socket || told.has(state)) return;
    told.add(state);
    try {
      notifyServiceManager(socket, state);
    } catch (error) {
      log.warn("{error}", { error: describeError(error) });
    }
  };
}
