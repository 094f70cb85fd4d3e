// Runs before the first paint, so that the chosen theme does not flash.
try {
  const theme = localStorage.getItem('penstock-theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch { /* no storage: the system's theme holds */ }
