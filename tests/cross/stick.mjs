// SPDX-License-Identifier: Apache-2.0
// An emulated stick on a pseudo terminal (cross_stick.c) and its nodes, as a test sees them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export const within = (ms, what, promise) => {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

// What an emitter says, kept from now on: `next(what, wanted)` waits for the first that fits.
export class Said {
    constructor() {
        this.all = [];
        this.waiting = [];
    }

    add(value) {
        this.all.push(value);
        this.waiting = this.waiting.filter((w) => !w(value));
    }

    next(what, wanted, ms = 5000) {
        const found = this.all.find(wanted);
        if (found !== undefined) return Promise.resolve(found);
        const heard = new Promise((resolve) => {
            this.waiting.push((value) => {
                if (!wanted(value)) return false;
                resolve(value);
                return true;
            });
        });
        return within(ms, what, heard);
    }
}

export class Stick {
    static async plug(program, driver, firmware, formed) {
        const stick = new Stick();
        stick.process = spawn(program, [driver, String(firmware), formed ? "formed" : "unformed"], {
            stdio: ["pipe", "pipe", "inherit"],
        });
        stick.exited = once(stick.process, "exit");
        stick.nodes = 0;
        stick.lines = new Said();
        stick.answers = new Map();
        createInterface({ input: stick.process.stdout }).on("line", (line) => stick.line(line));
        stick.path = (await stick.lines.next("terminal", (l) => l.startsWith("tty "))).slice(4);
        return stick;
    }

    line(line) {
        const [verb, number, hex] = line.split(" ");
        this.lines.add(line);
        if (verb === "heard") this.answers.get(Number(number))?.(Buffer.from(hex, "hex"));
    }

    say(...words) {
        this.process.stdin.write(`${words.join(" ")}\n`);
    }

    // A node of home automation, as those hosts expect them; its number.
    async join(eui64, address, { sleepy = false, endpoint = 1, profile = 0x0104, cluster = 0 } = {}) {
        const number = this.nodes++;
        const hex = [address, endpoint, profile, cluster].map((n) => n.toString(16));
        this.say(sleepy ? "sleepy" : "join", eui64, ...hex);
        await this.lines.next("join", (l) => l === `node ${number}`);
        return number;
    }

    // From now on `node` gives the answer that `answer(octets)` returns, if any.
    answer(node, answer) {
        this.answers.set(node, (octets) => {
            const reply = answer(octets);
            if (reply !== undefined) this.send(node, reply);
        });
    }

    send(node, octets) {
        this.say("send", node, Buffer.from(octets).toString("hex"));
    }

    heard(node, octets) {
        const wanted = `heard ${node} ${Buffer.from(octets).toString("hex")}`;
        return this.lines.next(wanted, (l) => l === wanted);
    }

    async unplug() {
        this.process.stdin.end();
        await within(5000, "end of cross_stick", this.exited);
    }
}
