// Draws every <figure data-chart> from the JSON data block inside it. The numbers are in a table
// beside each chart, so a page without this script loses nothing but the picture.
(() => {
  "use strict";

  const format = new Intl.NumberFormat(document.documentElement.lang || "en", {
    maximumSignificantDigits: 4,
  });
  const POINT_STYLES = ["circle", "rect", "triangle", "rectRot", "rectRounded", "star"];
  const ROW_HEIGHT = 12; // pixels for one bar of a horizontal chart
  const drawn = new Map();

  function colours(figure) {
    const style = getComputedStyle(figure);
    const read = (name) => style.getPropertyValue(name).trim();
    return {
      text: read("--body-fg"),
      grid: read("--border-color"),
      series: [1, 2, 3, 4, 5, 6].map((n) => read(`--redisdict-series-${n}`)),
    };
  }

  // The intervals: a line with two caps through each value, as far as its ends are known.
  const whiskers = {
    id: "whiskers",
    afterDatasetsDraw(chart, _args, { colour }) {
      const { ctx } = chart;
      ctx.save();
      ctx.strokeStyle = colour;
      ctx.lineWidth = 1.2;
      chart.data.datasets.forEach((dataset, index) => {
        const meta = chart.getDatasetMeta(index);
        if (meta.hidden || !dataset.low) return;
        meta.data.forEach((element, position) => {
          const low = dataset.low[position];
          const high = dataset.high[position];
          if (low === null || high === null || dataset.data[position] === null) return;
          const from = meta.vScale.getPixelForValue(low);
          const to = meta.vScale.getPixelForValue(high);
          const across = meta.vScale.isHorizontal() ? element.y : element.x;
          drawWhisker(ctx, meta.vScale.isHorizontal(), from, to, across);
        });
      });
      ctx.restore();
    },
  };

  function drawWhisker(ctx, horizontal, from, to, across) {
    const line = (alongA, acrossA, alongB, acrossB) => {
      ctx.beginPath();
      ctx.moveTo(horizontal ? alongA : acrossA, horizontal ? acrossA : alongA);
      ctx.lineTo(horizontal ? alongB : acrossB, horizontal ? acrossB : alongB);
      ctx.stroke();
    };
    line(from, across, to, across);
    line(from, across - 3, from, across + 3);
    line(to, across - 3, to, across + 3);
  }

  function dataset(series, index, data, palette) {
    const colour = palette.series[index % palette.series.length];
    const valueAxis = data.horizontal ? "xAxisID" : "yAxisID";
    return {
      type: data.kind === "bars" ? "bar" : "line",
      label: series.label,
      data: series.values,
      low: series.low,
      high: series.high,
      [valueAxis]: series.axis,
      backgroundColor: colour,
      borderColor: colour,
      borderWidth: data.kind === "lines" ? 2 : 1,
      showLine: data.kind === "lines",
      spanGaps: true,
      pointStyle: POINT_STYLES[index % POINT_STYLES.length],
      pointRadius: 4.5,
      pointHoverRadius: 6,
      maxBarThickness: 18,
    };
  }

  // Whatever is drawn on the axis that isn't a value itself: the ends of intervals.
  function extent(data, axisName) {
    const ends = data.series
      .filter((series) => series.axis === axisName)
      .flatMap((series) => [...series.low, ...series.high])
      .filter((end) => typeof end === "number");
    return ends.length ? { suggestedMin: Math.min(...ends), suggestedMax: Math.max(...ends) } : {};
  }

  function valueScale(axis, data, palette, isSecond) {
    const horizontal = data.horizontal;
    return {
      ...extent(data, isSecond ? "second" : "main"),
      type: axis.logarithmic ? "logarithmic" : "linear",
      axis: horizontal ? "x" : "y",
      position: horizontal ? (isSecond ? "top" : "bottom") : isSecond ? "right" : "left",
      beginAtZero: data.kind === "bars",
      title: { display: true, text: axis.label, color: palette.text },
      ticks: { color: palette.text, callback: (value) => format.format(value), maxTicksLimit: 8 },
      grid: { color: palette.grid, drawOnChartArea: !isSecond },
    };
  }

  function tooltipLabel(item) {
    const { label, low, high } = item.dataset;
    const value = format.format(item.dataset.data[item.dataIndex]);
    const from = low && low[item.dataIndex];
    const to = high && high[item.dataIndex];
    const known = typeof from === "number" && typeof to === "number";
    return `${label}: ${value}` + (known ? ` [${format.format(from)}, ${format.format(to)}]` : "");
  }

  // On a narrow screen a label has a line for each of its parts.
  const narrow = matchMedia("(max-width: 767px)");
  const wrapped = (label) => (narrow.matches ? label.split(" · ") : label);

  function configuration(data, palette) {
    const scales = {
      [data.horizontal ? "y" : "x"]: {
        ticks: {
          color: palette.text,
          autoSkip: !data.horizontal,
          font: { size: narrow.matches ? 10 : 12 },
        },
        grid: { display: false },
        offset: true,
      },
      main: valueScale(data.axis, data, palette, false),
    };
    if (data.second_axis) scales.second = valueScale(data.second_axis, data, palette, true);
    return {
      data: {
        labels: data.labels.map(wrapped),
        datasets: data.series.map((series, index) => dataset(series, index, data, palette)),
      },
      options: {
        animation: false,
        responsive: true,
        maintainAspectRatio: false,
        indexAxis: data.horizontal ? "y" : "x",
        scales,
        plugins: {
          legend: {
            display: data.series.length > 1,
            labels: { color: palette.text, usePointStyle: true },
          },
          tooltip: { callbacks: { label: tooltipLabel } },
          whiskers: { colour: palette.text },
        },
      },
      plugins: [whiskers],
    };
  }

  function draw(figure) {
    const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const canvas = figure.querySelector("canvas");
    figure.hidden = false;
    if (data.horizontal) {
      const lines = data.kind === "bars" ? data.series.length : narrow.matches ? 3 : 1.5;
      const height = 110 + data.labels.length * (lines * ROW_HEIGHT + 10);
      canvas.parentElement.style.height = `${height}px`;
    }
    drawn.get(figure)?.destroy();
    drawn.set(figure, new Chart(canvas, configuration(data, colours(figure))));
  }

  const drawAll = () => document.querySelectorAll("figure[data-chart]").forEach(draw);

  // The admin's theme switch sets data-theme; "auto" follows the system.
  new MutationObserver(drawAll).observe(document.documentElement, {
    attributeFilter: ["data-theme"],
  });
  for (const query of [narrow, matchMedia("(prefers-color-scheme: dark)")]) {
    query.addEventListener("change", drawAll);
  }
  drawAll();
})();
