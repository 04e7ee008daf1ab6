// work.js TEST N: JavaScript with objects, strings, typed arrays and generated functions.
'use strict';
const tests = {
  fannkuch(n) {
    const p = new Int32Array(n), q = new Int32Array(n), count = new Int32Array(n);
    for (let i = 0; i < n; i++) p[i] = i;
    let best = 0, total = 0, sign = 1, r = n;
    for (;;) {
      for (; r !== 1; r--) count[r - 1] = r;
      q.set(p);
      let flips = 0;
      for (let k; (k = q[0]) !== 0; flips++)
        for (let i = 0, j = k; i < j; i++, j--) { const t = q[i]; q[i] = q[j]; q[j] = t; }
      if (flips > best) best = flips;
      total += sign * flips;
      sign = -sign;
      for (;;) {
        if (r === n) return [best, total];
        const first = p[0];
        for (let i = 0; i < r; i++) p[i] = p[i + 1];
        p[r] = first;
        if (--count[r] > 0) break;
        r++;
      }
    }
  },
  objects(n) { // short-lived objects and a growing map: the collector
    const map = new Map();
    let seed = 42, sum = 0;
    for (let i = 0; i < n; i++) {
      seed = seed * 16807 % 2147483647;
      const o = { id: seed % 20000, next: null, tags: ['a' + i % 10, 'b'] };
      o.next = map.get(o.id) || null;
      if (o.next) { sum += o.next.id; o.next.next = null; }
      map.set(o.id, o);
    }
    return [map.size, sum];
  },
  json(n) {
    let text = JSON.stringify({ list: Array.from({ length: 200 }, (_, i) => ({ i, s: 'item ' + i, f: i / 8 })) }), sum = 0;
    for (let i = 0; i < n; i++) {
      const o = JSON.parse(text);
      o.list[i % 200].i += i;
      text = JSON.stringify(o);
      sum += text.replace(/item (\d+)/g, (_, d) => d.length).length;
    }
    return [text.length, sum];
  },
  compile(n) { // code generated and thrown away: functions made from text, warmed up
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const f = new Function('a', 'b', `let s = 0; for (let i = 0; i < 2000; i++) s = (s + a * i + b + ${i}) & 0xffff; return s;`);
      for (let j = 0; j < 5; j++) sum += f(i, j);
    }
    return [sum];
  },
};
console.log(process.argv[2], tests[process.argv[2]](+process.argv[3]).join(' '));
