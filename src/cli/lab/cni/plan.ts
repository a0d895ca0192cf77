import { labPath } from "../lab-folder.ts";

/** What a node's container runtime would have of CNI, all of it in the lab's folder. */
export interface CniPlan {
  /** the only folder of CNI_PATH: tartan by the name of `flannel`, and the plugins that it needs */
  readonly pluginDir: string;
  /** what the node's agent makes the conflist of */
  readonly source: { readonly path: string; readonly content: string };
  /** what it writes, for the container runtime */
  readonly conflist: string;
  /** where host-local keeps a file for each address that it has given out */
  readonly addressDir: string;
}

/** Those of Debian's plugins that a node of the lab calls: for its pods' loopback, and by way of the conflist. */
export const DEBIAN_PLUGINS = ["bridge", "host-local", "loopback", "portmap"] as const;

const NETWORK = "cbr0";

export function planCni(id: string, node: string, subnetFile: string): CniPlan {
  const place = (...names: readonly string[]) => labPath(id, `${node}.cni`, ...names);
  const networks = place("networks");
  const conflist = {
    cniVersion: "1.0.0",
    name: NETWORK,
    plugins: [
      {
        type: "flannel",
        delegate: { hairpinMode: true, isDefaultGateway: true },
        // The usual places are the host's own.
        subnetFile,
        dataDir: place("flannel"),
        ipam: { dataDir: networks },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
  return {
    pluginDir: `${pluginsOf(id)}${node}`,
    source: { path: place("cni-conf.json"), content: `${JSON.stringify(conflist, null, 2)}\n` },
    conflist: place("10-flannel.conflist"),
    addressDir: `${networks}/${NETWORK}`,
  };
}

/** All plugins that a lab runs are in folders whose paths begin with this. */
export function pluginsOf(id: string): string {
  return `${labPath(id, "plugins")}/`;
}
