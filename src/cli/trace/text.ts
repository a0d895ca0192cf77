import type { Screen } from "../output.ts";
import { type Colour, wrap } from "../table.ts";
import type { TargetKind, TargetLease, Trace } from "./result.ts";

/** A trace for the eye. What may be a command to copy is in one line. */
export function traceText(
  { target, kind, lease, steps, loss, arrives, beyond, notes }: Trace,
  { paint, width }: Screen,
): string {
  const sentence = (colour: Colour, text: string) => wrap(text, width).map((line) => paint(colour, line));
  const lines = steps.map(({ step, ok, text }) => {
    const line = `  ${ok ? " " : "✗"} ${step.padEnd(10)}  ${text}`;
    return ok ? line : paint("red", line);
  });
  const verdict =
    loss === undefined
      ? sentence(beyond === undefined ? "green" : "yellow", arrives)
      : [...sentence("red", `The packet would be lost here: ${loss.problem}.`), `What helps: ${loss.fix}`];
  const after =
    beyond === undefined
      ? []
      : [...sentence("red", `But ${beyond.problem}.`), ...wrap(`What helps: ${beyond.fix}`, width)];
  const remarks = notes.flatMap((note) => sentence("yellow", `Note: ${note}`));
  return `${[`${target}: ${whose(kind, lease)}`, ...lines, ...verdict, ...after, ...remarks].join("\n")}\n`;
}

function whose(kind: TargetKind, lease: TargetLease | null | undefined): string {
  if (kind === "local") return "an address of this node";
  if (lease) {
    const node = lease.node === null ? "" : ` ${lease.node}`;
    return lease.own
      ? `in this node's subnet ${lease.subnet}${node && ` (${lease.node})`}`
      : `in the subnet ${lease.subnet} of node${node}${node ? "" : ` ${lease.key}`}`;
  }
  if (kind === "localPod") return "in this node's subnet";
  if (kind === "outside") return "outside of the pod network";
  return lease === null ? "in the pod network, and in no node's subnet" : "in the pod network";
}
