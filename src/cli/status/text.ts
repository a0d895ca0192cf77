import type { Event } from "../../api/events.ts";
import type { State } from "../../api/state.ts";
import { LINUX_VXLAN_PORT } from "../../config/network.ts";
import { outcomeOf } from "../../lease/lease.ts";
import { age, counts, plural, type Screen } from "../output.ts";
import { countsLine } from "../peer-words.ts";
import { type Colour, truncate, wrap } from "../table.ts";

/** `tartan status` for the eye. Pure but for the time. */

interface Line {
  readonly label: string;
  readonly text: string;
  readonly colour?: Colour | undefined;
}

const INDENT = 11;

/** Lines of the same label show it once. Long ones end in …, all but those in colour, which tell what is wrong: they go on. */
export function lines(entries: readonly Line[], { paint, width }: Screen): string {
  const room = Math.max(20, width - INDENT);
  return entries
    .flatMap(({ label, text, colour }, at) => {
      const isWrong = colour === "red" || colour === "yellow";
      const body = isWrong ? wrap(text, room) : [truncate(text, room)];
      return body.map((line, row) => {
        const shown = row > 0 || entries[at - 1]?.label === label ? "" : label;
        return `${paint("bold", shown.padEnd(INDENT))}${colour ? paint(colour, line) : line}\n`;
      });
    })
    .join("");
}

export interface StatusFacts {
  readonly state: State;
  readonly repairs: readonly Event[];
  /** this executable's version */
  readonly version: string;
  readonly now: number;
}

export function statusLines({ state, repairs, version, now }: StatusFacts): Line[] {
  const { readiness, reconcile, rules, leaseSource } = state;
  return [
    {
      label: "node",
      text: `${state.node ?? "-"}, agent up for ${age(state.startedAt, now)}, process ${state.process.pid}`,
    },
    ...readinessLines(readiness),
    ...leaseLines(state),
    {
      label: "leases",
      text: `${plural(state.leaseCounts.used, "lease")} in ${leaseSource.kind} ${leaseSource.location}`,
    },
    {
      label: "leases",
      text: leaseSource.error ?? `last contact ${age(leaseSource.lastContactAt, now)} ago`,
      colour: leaseSource.error === null ? undefined : "yellow",
    },
    ...state.rejectedLeases.slice(0, 3).map(
      ({ key, reason, kept }): Line => ({
        label: "leases",
        text: `${key} ${outcomeOf(kept)}: ${reason}`,
        colour: "yellow",
      }),
    ),
    ...backendLines(state),
    { label: "peers", text: countsLine(state.peerCounts), colour: peersColour(state) },
    {
      label: "kernel",
      text: `${reconcile.settled ? "as desired" : "not as desired"}, repaired since the start: ${counts(reconcile.repaired)}`,
      colour: reconcile.settled ? undefined : "yellow",
    },
    ...state.failures.slice(0, 3).map(({ message }): Line => ({ label: "kernel", text: message, colour: "red" })),
    {
      label: "rules",
      text: `${rules.backend ?? rules.mode}${rules.version ? ` ${rules.version}` : ""}: ${inPlace(rules.inPlace)}`,
    },
    ...repairs.map(({ at, message }): Line => ({ label: "repairs", text: `${age(at, now)} ago: ${message}` })),
    ...versionLines(state.version, version),
  ];
}

function readinessLines({ ready, reasons, warnings }: State["readiness"]): Line[] {
  return [
    ready ? { label: "state", text: "ready", colour: "green" } : { label: "state", text: "not ready", colour: "red" },
    ...reasons.map(
      ({ condition, message }): Line => ({ label: "state", text: `${condition}: ${message}`, colour: "red" }),
    ),
    ...warnings.map(
      ({ condition, message }): Line => ({ label: "warnings", text: `${condition}: ${message}`, colour: "yellow" }),
    ),
  ];
}

function leaseLines({ lease, leaseProblem }: State): Line[] {
  const families = lease === null ? [] : [lease.ipv4, lease.ipv6].filter((one) => one !== undefined);
  return [
    ...(lease === null ? [{ label: "lease", text: "none", colour: "yellow" as const }] : []),
    ...families.map(({ subnet, publicIP, vtepMAC }) => ({
      label: "lease",
      text: `${subnet ?? "-"} at ${publicIP ?? "-"}${vtepMAC ? `, VTEP MAC ${vtepMAC}` : ""}`,
    })),
    ...(leaseProblem === null ? [] : [{ label: "lease", text: leaseProblem, colour: "red" as const }]),
  ];
}

function backendLines({ config: { backend }, desired, externalInterface }: State): Line[] {
  const below = externalInterface === null ? "" : ` on ${externalInterface.name}, MTU ${externalInterface.mtu}`;
  const head =
    backend === null
      ? "not known yet"
      : `${backend.type}, VNI ${backend.vni}, UDP port ${backend.port ?? LINUX_VXLAN_PORT}${below}`;
  return [
    { label: "backend", text: head },
    ...(desired?.devices ?? []).map(({ name, mtu, neighbours }) => ({
      label: "backend",
      text: `${name}, MTU ${mtu}, ${plural(neighbours, "peer")}`,
    })),
  ];
}

function peersColour({ peerCounts: { down, notProgrammed, leftOut, degraded } }: State): Colour | undefined {
  if (down + notProgrammed > 0) return "red";
  return leftOut + degraded > 0 ? "yellow" : undefined;
}

function inPlace(families: State["rules"]["inPlace"]): string {
  const parts = Object.entries(families).map(
    ([name, is]) => `${name === "ipv4" ? "IPv4" : "IPv6"} ${is ? "in place" : "not in place"}`,
  );
  return parts.length === 0 ? "none wanted" : parts.join(", ");
}

export function versionLines(running: string, own: string): Line[] {
  if (running === own) return [{ label: "version", text: running }];
  return [{ label: "version", text: `the agent runs ${running}, this executable is ${own}`, colour: "yellow" }];
}
