import { basename } from "node:path";
import { vxlanDeviceName } from "../../../desired/vxlan.ts";
import { familiesOf } from "../../../net/family.ts";
import { type Check, type Finding, NotApplicable, ok, warning } from "../check.ts";
import { dropIns, namesIn, readIfThere } from "../files.ts";
import { linkNamed } from "./interfaces.ts";

/** Whether systemd-udevd or NetworkManager may give the VXLAN devices other MACs, to which no other node sends. */

/** A file of settings. */
export interface SettingsFile {
  readonly path: string;
  readonly text: string;
}

const LINK_FIX =
  "write /etc/systemd/network/10-flannel.link:\n[Match]\nOriginalName=flannel*\n[Link]\nMACAddressPolicy=none";
const MANAGER_FIX =
  "write /etc/NetworkManager/conf.d/flannel.conf, then: nmcli general reload\n[keyfile]\nunmanaged-devices=interface-name:flannel*";

/**
 * What systemd.link(5) says for a device: the first file that matches counts, and no other.
 * @param files in the order of their names
 * @param isKept the device has the MAC that the others send to. Pure.
 */
export function judgeLinkFiles(device: string, files: readonly SettingsFile[], isKept: boolean): Finding {
  const file = files.find(({ text }) => matches(device, text));
  if (file === undefined) return ok(`no link file of systemd-udevd is for ${device}`);
  const settings = sectionsOf(file.text).get("Link") ?? [];
  const fixed = settings.find(([key]) => key === "MACAddress");
  if (fixed !== undefined) return warning(`${file.path} gives ${device} the MAC ${fixed[1]}`, LINK_FIX);
  const policy = settings.findLast(([key]) => key === "MACAddressPolicy")?.[1] ?? "none";
  if (policy === "" || policy === "none") return ok(`${basename(file.path)} lets ${device} keep its MAC`);
  if (isKept) return ok(`${basename(file.path)} has MACAddressPolicy=${policy}, and ${device} has kept its MAC`);
  return warning(
    `${file.path} has MACAddressPolicy=${policy} for ${device}: systemd-udevd may give it another MAC`,
    LINK_FIX,
  );
}

/** Whether one of the names in [Match] is that of the device; what asks for more than a name is no virtual device. */
function matches(device: string, text: string): boolean {
  const conditions = sectionsOf(text).get("Match") ?? [];
  if (conditions.length === 0) return false;
  return conditions.every(([key, value]) => {
    const patterns = value.split(/\s+/).filter(Boolean);
    const isListed = (name: string) => patterns.some((pattern) => new Bun.Glob(pattern).match(name));
    if (key === "OriginalName") return isListed(device);
    return (key === "Type" || key === "Kind") && isListed("vxlan");
  });
}

/** NetworkManager leaves a device alone that is among its unmanaged ones (NetworkManager.conf(5)). Pure. */
export function judgeManager(device: string, files: readonly SettingsFile[], isKept: boolean): Finding {
  const lists = files.flatMap(({ text }) => [...sectionsOf(text).values()].flat());
  const unmanaged = lists
    .filter(([key]) => /^unmanaged-devices\+?$/.test(key))
    .flatMap(([, value]) => value.split(/[;,]/));
  const isLeftAlone = unmanaged.some((spec) => {
    const [kind, pattern = ""] = spec.trim().split(/:(.*)/s);
    if (kind === "type") return pattern === "vxlan";
    if (kind === "interface-name") return new Bun.Glob(pattern.replace(/^=/, "")).match(device);
    return spec.trim() === "*";
  });
  if (isLeftAlone) return ok(`NetworkManager leaves ${device} alone`);
  if (isKept) return ok(`NetworkManager runs, and ${device} has kept its MAC`);
  return warning(`NetworkManager runs and may take ${device} for its own`, MANAGER_FIX);
}

/** The lines `key=value` by section. */
function sectionsOf(text: string): Map<string, [key: string, value: string][]> {
  const sections = new Map<string, [string, string][]>();
  let section = "";
  for (const line of text.split("\n").map((one) => one.trim())) {
    const title = /^\[(.+)\]$/.exec(line)?.[1];
    if (title !== undefined) section = title;
    const [, key, value] = /^([\w.+-]+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (key === undefined || value === undefined) continue;
    sections.set(section, [...(sections.get(section) ?? []), [key, value]]);
  }
  return sections;
}

const LINK_FOLDERS = [
  "/etc/systemd/network",
  "/run/systemd/network",
  "/usr/local/lib/systemd/network",
  "/usr/lib/systemd/network",
  "/lib/systemd/network",
];
const MANAGER_FOLDERS = ["/etc/NetworkManager/conf.d", "/run/NetworkManager/conf.d", "/usr/lib/NetworkManager/conf.d"];

const macPolicy: Check = {
  group: "Interfaces",
  name: "mac-policy",
  find: async (context) => {
    const { ranges, backend } = await context.network();
    if (context.isApart)
      throw new NotApplicable("the host's files are not to be seen here: run it on the host, or give --host-root");
    const read = (path: string) => ({ path, text: readIfThere(path) ?? "" });
    const links = dropIns(
      LINK_FOLDERS.map((folder) => context.hostPath(folder)),
      ".link",
    ).map(read);
    const managerRuns = namesIn(context.hostPath("/run/NetworkManager")) !== undefined;
    const main = context.hostPath("/etc/NetworkManager/NetworkManager.conf");
    const manager = [
      main,
      ...dropIns(
        MANAGER_FOLDERS.map((folder) => context.hostPath(folder)),
        ".conf",
      ),
    ].map(read);
    return familiesOf(ranges).flatMap((family) => {
      const name = vxlanDeviceName(family, backend.vni);
      const told = context.agent?.desired?.devices.find((device) => device.name === name)?.mac;
      const isKept = told != null && linkNamed(context.kernel().actual.links, name)?.mac === told;
      return [judgeLinkFiles(name, links, isKept), ...(managerRuns ? [judgeManager(name, manager, isKept)] : [])];
    });
  },
};

export const MAC_CHECKS = [macPolicy];
