// All that is known of one node.
import { byId, formatMs, make, setText, timeOf } from "./dom.js";
import { familiesOf, nameOf, STATES, VERDICTS } from "./peers.js";
import { showEvents } from "./trouble.js";

/** @typedef {import("./peers.js").Peer} Peer */
/** @typedef {import("../../../../api/events.ts").Event} LoggedEvent */
/** @typedef {ReturnType<typeof familiesOf>[number]} Family */

/** @param {string | null} time */
const timeOrNever = (time) => (time === null ? "never" : timeOf(time));

/**
 * @param {readonly (readonly [string, ...(string | Node | null)[]])[]} rows each with its head
 * @param {readonly string[]} [columns]
 * @param {string} [caption]
 */
function makeTable(rows, columns, caption) {
  const table = make("table", "");
  if (caption !== undefined) table.append(make("caption", "", caption));
  if (columns !== undefined) {
    const heads = columns.map((text) => {
      const cell = make("th", "", text);
      cell.scope = "col";
      return cell;
    });
    table.append(make("thead", "", make("tr", "", make("td", ""), ...heads)));
  }
  const body = make("tbody", "");
  for (const [head, ...values] of rows) {
    const cell = make("th", "", head);
    cell.scope = "row";
    body.append(make("tr", "", cell, ...values.map((value) => make("td", "", value ?? "—"))));
  }
  table.append(body);
  return table;
}

/** @param {Family} family */
function describeEntries({ kernel, device }) {
  if (device === null) return "none wanted";
  if (kernel === null) return `being read, on ${device}`;
  const missing = Object.entries(kernel).flatMap(([what, has]) => (has ? [] : [what]));
  return missing.length === 0 ? `all there, on ${device}` : `not as wanted on ${device}: ${missing.join(", ")}`;
}

/** @param {NonNullable<Family["probe"]>} probe */
function probeTable({ verdict, overlay, underlay, mtu }) {
  const paths = [overlay, underlay];
  const { passes, bytes, lastCheckedAt } = mtu;
  const full = passes === null ? "not known" : passes ? "come through" : "do not come through";
  const checked = lastCheckedAt === null ? "" : make("span", "quiet", " (tried at ", timeOf(lastCheckedAt), ")");
  return [
    makeTable(
      [
        ["answers", ...paths.map(({ sent, received }) => `${received} of ${sent}`)],
        ["loss", ...paths.map(({ lossPercent }) => (lossPercent === null ? null : `${lossPercent} %`))],
        ["last round trip", ...paths.map(({ lastMs }) => formatMs(lastMs))],
        ["median", ...paths.map(({ p50Ms }) => formatMs(p50Ms))],
        ["99th percentile", ...paths.map(({ p99Ms }) => formatMs(p99Ms))],
        ["last answer", ...paths.map(({ lastSuccessAt }) => timeOrNever(lastSuccessAt))],
      ],
      ["overlay", "underlay"],
      `Probes: ${VERDICTS[verdict]}`,
    ),
    make("p", "", `Packets of ${bytes} bytes: ${full}`, checked),
  ];
}

/** @param {Family} family */
function makeFamily(family) {
  const { name, subnet, publicIP, vtepMAC, probe } = family;
  const table = makeTable([
    ["subnet", subnet],
    ["node address", publicIP],
    ["VTEP MAC", vtepMAC],
    ["kernel entries", describeEntries(family)],
  ]);
  const probes = probe === null ? [make("p", "quiet", "Not probed.")] : probeTable(probe);
  return make("section", "", make("h3", "", name === "ipv4" ? "IPv4" : "IPv6"), table, ...probes);
}

let version = "";

/**
 * @param {Peer | undefined} peer
 * @param {readonly LoggedEvent[]} events the newest first
 */
export function showDetail(peer, events) {
  byId("detail").hidden = peer === undefined;
  if (peer === undefined) return;
  const own = events.filter(({ node }) => node !== null && (node === peer.node || node === peer.key));
  const now = JSON.stringify([peer, own]);
  if (now === version) return;
  version = now;
  const [sign, , text] = STATES[peer.state];
  setText(byId("detail-title"), `${sign} ${nameOf(peer)} is ${text}`);
  const head = [];
  if (peer.since !== null) head.push(make("p", "quiet", "since ", timeOf(peer.since)));
  if (peer.why !== null) head.push(make("p", "", peer.why));
  if (peer.fix !== null) head.push(make("p", "fix", peer.fix));
  const list = make("ol", "events");
  showEvents(list, own);
  const happened = own.length === 0 ? [] : [make("section", "", make("h3", "", "Its events"), list)];
  byId("detail-body").replaceChildren(...head, ...familiesOf(peer).map(makeFamily), ...happened);
}
